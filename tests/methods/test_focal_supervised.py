"""The supervised focal loss: the authors' trace, cross-entropy without focus, and where the weights stand."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from helpers.mixing_steps import follow

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.reweighted import focal
from lt_bench.methods.ce import CE
from lt_bench.methods.focal_supervised import FocalSupervised
from lt_bench.preflight.validate import validate

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
BATCH = Batch((torch.randn(28, 6, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(28))


def built(kind=FocalSupervised, **settings):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 10), **settings)


def test_trains_as_the_authors_code_does(tmp_path):
    follow("mixing_step_focal_supervised", FocalSupervised, tmp_path, gamma=1.0)


def test_without_focus_it_is_cross_entropy():
    run = one_process(None)
    torch.testing.assert_close(built(gamma=0.0)(BATCH, 0, 0, run)["loss"], built(CE)(BATCH, 0, 0, run)["loss"])


@pytest.mark.parametrize("inside", [False, True])
def test_weights_begin_at_their_epoch_where_the_setting_puts_them(inside):
    method, run = built(beta=0.99, drw_start_epoch=2, weights_inside=inside), one_process(None)
    logits = method.classifier(method.encoder(BATCH.views[0]))
    for epoch, weights in ((1, None), (2, method.weights.weights)):
        expected = focal(logits, LABELS, 1.0, weights, inside)
        torch.testing.assert_close(method(BATCH, epoch, 0, run)["loss"], expected)


def test_official_has_the_weights_inside():
    values = [
        validate(compose(["method=focal_supervised", f"fidelity={name}"])).method for name in ("clean", "official")
    ]
    assert [value["weights_inside"] for value in values] == [False, True]


@pytest.mark.parametrize("gamma", [-1.0, float("inf"), float("nan")])
def test_refuses_a_focus_that_is_none(gamma):
    with pytest.raises(SettingError, match="gamma"):
        built(gamma=gamma)
