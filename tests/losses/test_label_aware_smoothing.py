"""Label-aware smoothing against the authors' functions, and its limits."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden
from helpers.mixing_losses import CASES, PRECISIONS, compare

from lt_bench.errors import SettingError
from lt_bench.losses.label_aware_smoothing import LabelAwareSmoothing, smoothed_cross_entropy, smoothing_of_classes

LOGITS = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 0, 1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("shape", "head", "tail"), [("concave", 0.4, 0.1), ("linear", 0.3, 0.0), ("exp", 0.2, 0.0)])
def test_is_that_of_the_authors(case, dtype, shape, head, tail):
    criterion = LabelAwareSmoothing(golden("mixing_losses")[f"{case}__counts"], head, tail, shape, power=2)
    compare(case, f"las_{shape}_{head}_{tail}", dtype, criterion)


@pytest.mark.parametrize("shape", ["concave", "linear", "convex", "exp"])
def test_shapes_are_those_of_the_authors(shape):
    stored = golden("mixing_class_vectors")
    head, tail, power = (float(stored[name]) for name in ("smooth_head", "smooth_tail", "exp_power"))
    names = [name for name in stored if name.endswith(f"__smoothing_{shape}")]
    assert len(names) >= 3
    for name in names:
        counts = stored[name.replace(f"smoothing_{shape}", "counts")]
        found = smoothing_of_classes(counts, head, tail, shape, power)
        torch.testing.assert_close(found, stored[name].double(), rtol=1e-6, atol=1e-7)
        ends = torch.stack([found[counts.argmax()], found[counts.argmin()]])
        torch.testing.assert_close(ends, torch.tensor([head, tail], dtype=torch.float64))
    alike = smoothing_of_classes(torch.tensor([7, 7]), head, tail, shape, power)
    torch.testing.assert_close(alike, torch.full((2,), head, dtype=torch.float64))


def test_without_smoothing_it_is_cross_entropy_and_with_one_value_smoothed_labels():
    none, some = torch.zeros(4), torch.full((4,), 0.3)
    torch.testing.assert_close(smoothed_cross_entropy(LOGITS, LABELS, none), F.cross_entropy(LOGITS, LABELS))
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=0.3)
    torch.testing.assert_close(smoothed_cross_entropy(LOGITS, LABELS, some.double()), expected)


def test_over_the_others_the_own_class_keeps_one_less_its_smoothing():
    smoothing = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    given = smoothing[LABELS][:, None]
    target = torch.where(F.one_hot(LABELS, 4) == 1, 1 - given, given / 3)
    expected = -(target * F.log_softmax(LOGITS, 1)).sum(1).mean()
    torch.testing.assert_close(smoothed_cross_entropy(LOGITS, LABELS, smoothing, "others"), expected)
    assert not torch.isclose(smoothed_cross_entropy(LOGITS, LABELS, smoothing), expected)


@pytest.mark.parametrize("wrong", [{"head": 1.5}, {"tail": -0.1}, {"shape": "round"}, {"power": 0.0}, {"over": "none"}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError):
        LabelAwareSmoothing(torch.tensor([3, 1]), **{"head": 0.3, "tail": 0.0, **wrong})
