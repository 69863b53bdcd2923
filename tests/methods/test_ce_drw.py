"""CE-DRW: the authors' trace across the epoch of re-weighting, and cross-entropy before it."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from helpers.mixing_steps import follow

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.methods.ce import CE
from lt_bench.methods.ce_drw import CEDRW
from lt_bench.preflight.validate import validate

COUNTS = torch.tensor([20, 6, 2])
LABELS = torch.repeat_interleave(torch.arange(3), COUNTS)
INPUTS = torch.randn(28, 6, generator=torch.Generator().manual_seed(1))
BATCH = Batch((INPUTS,), LABELS, torch.arange(28))


def built(kind, **settings):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 200), **settings)


def test_trains_as_the_authors_code_does(tmp_path):
    follow("mixing_step_ce_drw", CEDRW, tmp_path)


def test_before_its_epoch_it_is_cross_entropy_bit_for_bit():
    run = one_process(None)
    deferred, plain = built(CEDRW, drw_start_epoch=5), built(CE)
    assert torch.equal(deferred(BATCH, 4, 0, run)["loss"], plain(BATCH, 4, 0, run)["loss"])
    assert not torch.equal(deferred(BATCH, 5, 0, run)["loss"], plain(BATCH, 5, 0, run)["loss"])
    assert deferred.state_dict().keys() == plain.state_dict().keys()


def test_a_batch_of_one_class_does_not_feel_its_weight():
    batch = Batch((INPUTS[:20],), LABELS[:20], torch.arange(20))
    run = one_process(None)
    weighted = built(CEDRW, drw_start_epoch=0)(batch, 0, 0, run)["loss"]
    torch.testing.assert_close(weighted, built(CE)(batch, 0, 0, run)["loss"])


@pytest.mark.parametrize("dataset", ["cifar10_lt", "imagenet_lt", "places_lt", "inat18", "fashion_mnist_lt"])
def test_weights_begin_after_four_fifths_of_the_epochs(dataset):
    config = validate(compose(["method=ce_drw", f"dataset={dataset}"]))
    assert abs(config.method["drw_start_epoch"] / config.train.epochs - 0.8) < 0.01
