"""GLMC: the authors' trace, its limits, its rates, and what is refused."""

import numpy as np
import pytest
import torch
from helpers.engine_parts import Pictures, one_process
from helpers.golden_vectors import FOLDER, golden
from helpers.mixing_steps import as_drawn, follow

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import DataError, SettingError
from lt_bench.methods.glmc import GLMC
from lt_bench.run.build import build

NAMES = {
    "fc": "joint_classifier",
    "fc_cb": "classifier",
    "projection_head.0": "projection",
    "contrast_head.0": "prediction",
}
LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([12, 5, 3]))
FIRST, SECOND = torch.randn(2, 20, 3, 8, 8, generator=torch.Generator().manual_seed(1)).unbind()
BATCH = Batch((FIRST, SECOND), LABELS, torch.arange(20))
MIXED = BATCH._replace(partner=Batch((FIRST.flip(0), SECOND.flip(0)), LABELS.flip(0), torch.arange(20)))


def built(epochs=10, **settings):
    torch.manual_seed(0)
    return GLMC(Pictures(6), TrainInfo(LABELS, 3, epochs), projection_dim=4, **settings)


def test_trains_as_the_authors_code_does(tmp_path, monkeypatch):
    case = golden("mixing_step_glmc")
    as_drawn(monkeypatch, case)
    epochs = [int(case[f"s{number}_epoch"]) for number in range(int(case["steps"]))]
    values = {"weight_exponent": float(case["label_weighting"]), "consistency": float(case["contrast_weight"])}
    ours = {"names": NAMES, "length": int(case["epochs"]), "label_weight": "share", "projection_dim": 4}
    follow("mixing_step_glmc", GLMC, tmp_path, epochs, **ours, **values)


def test_the_rates_on_large_images_are_the_authors_an_epoch_earlier_without_the_eleventh():
    """Theirs sets the rate after an epoch; the first has the full one, and one epoch of the ramp is above it."""
    stored = np.load(FOLDER / "mixing_lr.npz")
    for name, words in {"imagenet": ["dataset=imagenet_lt"], "inat": ["dataset=inat18"]}.items():
        train = compose(["method=glmc", *words]).train
        schedule = build(dict(train.schedule), "train.schedule")
        rates, theirs = [schedule(epoch, 0, 10) for epoch in range(train.epochs)], stored[f"glmc_{name}"]
        assert len(theirs) == train.epochs and theirs[11] == pytest.approx(0.11)
        kept = [epoch for epoch in range(train.epochs - 1) if epoch != 10]
        np.testing.assert_allclose(np.array(rates)[kept], theirs[1:][kept], rtol=1e-6)


def test_the_first_epoch_knows_no_weights_of_classes_and_later_ones_do():
    run = one_process(None)
    losses = {}
    for exponent in (0.0, 1.2):
        method = built(weight_exponent=exponent)
        for epoch in (0, 5):
            mixed = method.mixed(MIXED, 0, 0, run)
            losses[exponent, epoch] = method(mixed, epoch, 0, run)["loss"]
            method = built(weight_exponent=exponent)
    assert torch.equal(losses[0.0, 0], losses[1.2, 0]) and not torch.equal(losses[0.0, 5], losses[1.2, 5])


def test_nothing_but_the_balanced_classifier_is_evaluated_and_it_is_not_trained_in_the_first_epoch():
    method, run = built(), one_process(None)
    method(method.mixed(MIXED, 0, 0, run), 0, 0, run)["loss"].backward()
    assert not method.classifier.weight.grad.any() and method.joint_classifier.weight.grad.any()
    assert method.prediction.weight.grad.any() and method.projection.weight.grad.any()


@pytest.mark.parametrize("label_weight", ["area", "share"])
def test_views_are_blended_and_cut_with_labels_by_what_is_left(label_weight):
    """Black images and white partners: the share of white is what the partner's label has."""
    black, white = torch.zeros(20, 3, 16, 16), torch.ones(20, 3, 16, 16)
    batch = Batch((black, black), LABELS, torch.arange(20))
    batch = batch._replace(partner=batch._replace(views=(white, white), labels=LABELS.flip(0)))
    method, run, boxes = built(label_weight=label_weight), one_process(None), set()
    for step in range(4):
        mixed = method.mixed(batch, 3, step, run)
        share = method.mixing.draw(3, step, run).share
        left = torch.stack([1 - view.mean((1, 2, 3)) for view in mixed.views], 1)
        assert mixed.partner is None and torch.equal(mixed.mix.labels, LABELS.flip(0))
        torch.testing.assert_close(mixed.mix.kept[:, 0], torch.full((20,), share))
        torch.testing.assert_close(left[:, 0], mixed.mix.kept[:, 0])
        expected = left[:, 1] if label_weight == "area" else torch.full((20,), share)
        torch.testing.assert_close(mixed.mix.kept[:, 1], expected)
        boxes.add(mixed.views[1][0].sum().item())
    assert len(boxes) > 1 and not black.any()


@pytest.mark.parametrize(
    "wrong",
    [{"views": ("crop_flip",)}, {"alpha": 0.0}, {"partner_exponent": -1.0}, {"weight_exponent": float("nan")},
     {"consistency": -1.0}, {"label_weight": "all"}],
)  # fmt: skip
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        built(**wrong)


def test_a_class_without_images_and_a_projection_without_outputs_are_refused():
    with pytest.raises(DataError):
        GLMC(Pictures(6), TrainInfo(LABELS, 4, 10))
    with pytest.raises(SettingError, match="projection_dim"):
        GLMC(Pictures(6), TrainInfo(LABELS, 3, 10), projection_dim=0)
