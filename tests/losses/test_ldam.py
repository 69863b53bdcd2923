import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads
from helpers.golden_vectors import FOLDER, PRECISIONS, assert_loss_and_gradient, golden

from lt_bench.errors import DataError
from lt_bench.losses.ldam import ldam, ldam_margins
from lt_bench.losses.reweighted import effective_number_weights


def names(file: str, ending: str) -> list[str]:
    with np.load(FOLDER / f"{file}.npz") as arrays:
        return [name.removesuffix(ending) for name in arrays.files if name.endswith(ending)]


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_equals_the_golden_loss_and_gradient(case, dtype, tolerance):
    vectors = golden("ldam_loss", case)
    logits = vectors["logits"].to(dtype).requires_grad_()
    margins = ldam_margins(vectors["counts"], float(vectors["max_m"]))
    weights = vectors["class_weight"].float() if vectors["has_weight"] else None  # rounded when the vectors were made
    loss = ldam(logits, vectors["labels"], margins, float(vectors["s"]), weights)
    assert_loss_and_gradient(loss, logits, vectors, tolerance)


@pytest.mark.parametrize("case", names("ldam_margins", "_counts"))
def test_margins_equal_the_golden_ones(case):
    vectors = golden("ldam_margins", case)
    margins = ldam_margins(vectors["counts"], float(vectors["max_m"]))
    torch.testing.assert_close(margins, vectors["margins"], rtol=1e-12, atol=0)
    torch.testing.assert_close(margins.float(), vectors["margins_f32"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("case", names("ldam_drw_weights", "_counts"))
def test_weights_equal_the_golden_ones(case):
    vectors = golden("ldam_drw_weights", case)
    weights = effective_number_weights(vectors["counts"], float(vectors["beta"]))
    torch.testing.assert_close(weights, vectors["weights"], rtol=1e-9, atol=0)
    assert float(weights.sum()) == pytest.approx(len(weights), rel=1e-12)


@pytest.mark.parametrize("case", ["a", "b"])
def test_weights_of_images_equal_the_golden_ones_up_to_their_scale(case):
    """Those for drawing images; balanced ones, 1 / count, are the limit of beta near 1."""
    vectors = golden("cb_weights", case)
    labels = vectors["labels"].long()
    counts = torch.bincount(labels)
    for beta, name in ((float(vectors["beta"]), "effective"), (1 - 2**-40, "balanced")):
        expected = vectors[f"{name}_sample_weight"]
        of_classes = torch.zeros(len(counts), dtype=torch.float64).scatter(0, labels, expected)
        weights = effective_number_weights(counts, beta)[labels] * (of_classes.sum() / len(counts))
        np.testing.assert_allclose(weights, expected, rtol=1e-9)


def test_equals_the_equation_written_as_a_loop():
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand(6, 4, generator=generator, dtype=torch.float64) * 2 - 1
    labels, weights = torch.tensor([0, 3, 3, 1, 0, 2]), torch.tensor([0.2, 1.0, 3.0, 0.5]).double()
    margins = [0.1, 0.2, 0.3, 0.5]
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        scaled = [10 * (value - (margins[label] if column == label else 0)) for column, value in enumerate(row)]
        total += float(weights[label]) * (math.log(sum(map(math.exp, scaled))) - scaled[label])
    loss = ldam(logits, labels, torch.tensor(margins, dtype=torch.float64), 10, weights)
    assert float(loss) == pytest.approx(total / float(weights[labels].sum()), rel=1e-12)


def test_without_margins_is_scaled_cross_entropy():
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1, 1])
    torch.testing.assert_close(ldam(logits, labels, torch.zeros(3), 30), F.cross_entropy(30 * logits, labels))


def test_weights_near_one_tend_to_the_inverse_counts():
    counts = torch.tensor([1, 10, 1000])
    inverse = 3 / counts / (1 / counts).sum()
    torch.testing.assert_close(effective_number_weights(counts, 1 - 1e-12), inverse.double(), rtol=1e-6, atol=0)


def test_gradient_is_that_of_the_function_and_the_logits_stay_as_they_are():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    before, labels, margins = logits.detach().clone(), torch.tensor([0, 2, 1, 0]), torch.tensor([0.1, 0.2, 0.5])
    assert torch.autograd.gradcheck(lambda rows: ldam(rows, labels, margins, 3, margins), logits)
    assert torch.equal(logits, before)


def test_computes_in_single_precision_under_autocast_and_reads_nothing_on_the_host():
    logits, labels = torch.randn(8, 3).bfloat16().requires_grad_(), torch.arange(8) % 3
    margins = ldam_margins(torch.tensor([50, 7, 1]), 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16), HostReads() as reads:
        loss = ldam(logits, labels, margins, 30, margins)
        loss.backward()
    assert loss.dtype == torch.float32 and bool(logits.grad.isfinite().all()) and reads.found == []
    torch.testing.assert_close(loss.detach(), ldam(logits.detach().float(), labels, margins, 30, margins))


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_weights_refuse_a_beta_outside_the_unit_interval(beta):
    with pytest.raises(ValueError, match="beta"):
        effective_number_weights(torch.tensor([3, 2]), beta)


def test_empty_classes_are_refused():
    with pytest.raises(DataError, match="at least one training image"):
        ldam_margins(torch.tensor([5, 0]), 0.5)
    with pytest.raises(DataError, match="at least one training image"):
        effective_number_weights(torch.tensor([5, 0]), 0.9)
