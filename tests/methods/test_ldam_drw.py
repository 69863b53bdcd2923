"""LDAM-DRW end to end: the authors' epochs of re-weighting, their schedule, and scaled cosines as logits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.engine_parts import Vectors, one_process
from helpers.golden_vectors import FOLDER, golden
from hydra.utils import instantiate

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import DataError
from lt_bench.losses.ldam import ldam, ldam_margins
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.methods.ldam_drw import LDAMDRW
from lt_bench.preflight.validate import validate
from lt_bench.stage_two.ldam_drw import LDAMDRW as Rule

COUNTS = torch.tensor([20, 6, 2])
LABELS = torch.repeat_interleave(torch.arange(3), COUNTS)
INPUTS = torch.randn(28, 6, generator=torch.Generator().manual_seed(1))
BATCH = Batch((INPUTS,), LABELS, torch.arange(28))
INFO = TrainInfo(LABELS, 3, 200)


def built(**settings):
    torch.manual_seed(0)
    return LDAMDRW(Vectors(), INFO, **settings)


@pytest.mark.parametrize("epoch", [0, 158, 159, 160, 161, 199])
def test_weights_are_active_in_the_epochs_of_the_authors(epoch):
    stage = golden("ldam_drw_weights", "stage")
    beta = float(stage["official_ldam_beta"][stage["epochs"].tolist().index(epoch)])
    method = built(
        drw_start_epoch=validate(compose(["method=ldam_drw", "dataset=cifar100_lt"])).method["drw_start_epoch"]
    )
    cosines = F.normalize(method.encoder(INPUTS), dim=1) @ F.normalize(method.classifier.weight, dim=0)
    expected = ldam(cosines, LABELS, ldam_margins(COUNTS, 0.5), 30.0, effective_number_weights(COUNTS, beta))
    terms = method(BATCH, epoch, 0, one_process(None))
    torch.testing.assert_close(terms["loss"], expected)
    assert float(terms["accuracy"]) == float((cosines.argmax(1) == LABELS).float().mean())


def test_logits_are_scaled_cosines_without_margins():
    method = built(scale=12.0)
    features = method.encoder(INPUTS)
    cosines = F.normalize(features, dim=1) @ F.normalize(method.classifier.weight, dim=0)
    torch.testing.assert_close(method.classifier(features), 12 * cosines)
    assert LDAMDRW.provides_classifier and method.views == ("crop_flip",)


def test_is_the_rule_with_a_trained_encoder():
    method = built(drw_start_epoch=0)
    rule = Rule(augment=False).build(Vectors(), None, INFO)
    rule.classifier.load_state_dict(method.classifier.state_dict())
    run = one_process(None)
    loss = method(BATCH, 3, 0, run)["loss"]
    features = Batch((method.encoder(INPUTS).detach(),), LABELS, BATCH.indices)
    torch.testing.assert_close(loss, rule(features, 3, 0, run)["loss"])
    loss.backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in method.parameters())


def test_state_is_that_of_the_networks():
    assert {name.split(".")[0] for name in built().state_dict()} == {"encoder", "classifier"}


@pytest.mark.parametrize("dataset", ["cifar10_lt", "cifar100_lt"])
def test_the_recipe_is_the_authors(dataset):
    config = validate(compose(["method=ldam_drw", f"dataset={dataset}"]))
    schedule = instantiate(config.train.schedule)
    rates = [schedule(epoch, 0, 10) for epoch in range(config.train.epochs)]
    with np.load(FOLDER / "ldam_lr.npz") as stored:
        np.testing.assert_allclose(rates, stored["official_ldam200_lr_per_epoch"], rtol=1e-9)
    optimizer = config.train.optimizer
    assert (config.train.batch_size, optimizer["momentum"], optimizer["weight_decay"]) == (128, 0.9, 2e-4)
    assert {key: config.method[key] for key in ("max_margin", "scale", "beta", "drw_start_epoch")} == {
        "max_margin": 0.5,
        "scale": 30.0,
        "beta": 0.9999,
        "drw_start_epoch": 160,
    }
    assert config.stage_two.name == "none"


def test_on_digits_the_weights_begin_where_the_rate_first_falls():
    config = validate(compose(["method=ldam_drw", "dataset=digits_lt"]))
    assert config.method["drw_start_epoch"] == config.train.schedule["milestones"][0] < config.train.epochs


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_refuses_a_scale_that_is_not_positive(scale):
    with pytest.raises(ValueError, match="scale is above 0"):
        built(scale=scale)


@pytest.mark.parametrize("options", [{"max_margin": -1.0}, {"max_margin": float("inf")}, {"drw_start_epoch": -1}])
def test_refuses_a_margin_and_an_epoch_below_zero(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is 0"):
        built(**options)


def test_refuses_a_class_without_images():
    with pytest.raises(DataError, match="at least one training image"):
        LDAMDRW(Vectors(), TrainInfo(LABELS, 4, 10))
