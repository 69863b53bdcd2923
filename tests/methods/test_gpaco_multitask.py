"""The multi-task baseline of GPaCo: its loss on GPaCo's network, class weights, recipe and quirks."""

import pytest
import torch
import torch.nn.functional as F
from helpers.engine_parts import FixedBatches, Vectors, one_process

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import UsageError, keyed
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.losses.supcon import supcon
from lt_bench.methods.gpaco_multitask import GPaCoMultiTask
from lt_bench.preflight.validate import validate

LABELS = torch.tensor([0] * 7 + [1] * 3 + [2] * 2)


def small(**options):
    torch.manual_seed(0)
    return GPaCoMultiTask(Vectors(), TrainInfo(LABELS, 3, 5), **({"queue_size": 24, "projection_dim": 5} | options))


def batch():
    first, second = torch.randn(2, 12, 6, generator=torch.Generator().manual_seed(1)).unbind()
    return Batch((first, second), LABELS, torch.arange(12))


def test_with_an_empty_queue_and_no_weights_it_is_cross_entropy_plus_supcon_of_both_views():
    method, given = small(class_weight_beta=0.0, alpha=0.3), batch()
    features = method.encoder(torch.cat(given.views))
    cross_entropy = F.cross_entropy(method.classifier(features) + log_prior(torch.bincount(LABELS)), LABELS.repeat(2))
    views = method.head(features).unflatten(0, (2, 12)).transpose(0, 1)
    loss = method(given, 0, 0, one_process(FixedBatches([given])))["loss"]
    torch.testing.assert_close(loss, (cross_entropy + 0.3 * supcon(views, LABELS, 0.07, 0.07)).float())


def test_class_weights_are_effective_numbers_and_act_on_the_contrastive_terms_alone():
    weighted, plain = small(), small(class_weight_beta=0.0)
    torch.testing.assert_close(
        weighted.class_weights.double(), effective_number_weights(torch.bincount(LABELS), 0.999), rtol=1e-6, atol=0
    )
    assert weighted.class_weights[2] > weighted.class_weights[0]
    assert plain.class_weights.tolist() == [1, 1, 1]
    losses = {}
    for alpha in (0.0, 0.5):
        for beta in (0.0, 0.999):
            method = small(alpha=alpha, class_weight_beta=beta)
            losses[alpha, beta] = float(method(batch(), 0, 0, one_process(FixedBatches([batch()])))["loss"].detach())
    assert losses[0.0, 0.0] == losses[0.0, 0.999]
    assert losses[0.5, 0.0] != losses[0.5, 0.999]


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"class_weight_beta": 1.0}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match=f"set method.{next(iter(options))}="), keyed("method"):
        small(**options)


@pytest.mark.parametrize("dataset", ["cifar100_lt", "cifar10_lt"])
def test_recipe_is_gpacos_with_its_own_weights(dataset):
    config, gpaco = (validate(compose([f"method={m}", f"dataset={dataset}"])) for m in ("gpaco_multitask", "gpaco"))
    assert config.train == gpaco.train
    for key in ("temperature", "queue_size", "projection_dim", "views"):
        assert config.method[key] == gpaco.method[key]
    assert (config.method["alpha"], config.method["class_weight_beta"]) == (0.5, 0.999)


def test_official_class_weights_are_all_one():
    official = validate(compose(["method=gpaco_multitask", "dataset=cifar100_lt", "fidelity=official"]))
    assert official.method["class_weight_beta"] == 0 and official.method["queue_init"] == "official"
    assert official.train.schedule["warm_mode"] == "official"
