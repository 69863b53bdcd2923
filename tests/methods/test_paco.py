"""PaCo: the order of a step, the momentum encoder's part in it, recipe and quirks."""

import pytest
import torch
from helpers.chain import of_method
from helpers.engine_parts import FixedBatches, Vectors, one_process

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.methods.paco import PaCo
from lt_bench.preflight.validate import validate

LABELS = torch.arange(12) % 3


def small(**options):
    torch.manual_seed(0)
    method = PaCo(Vectors(), TrainInfo(LABELS, 3, 5), **({"queue_size": 12, "projection_dim": 5} | options))
    with torch.no_grad():  # away from its copy
        for parameter in (*method.encoder.parameters(), *method.head.parameters()):
            parameter.mul_(1.1)
    return method


def batch():
    first, second = torch.randn(2, 12, 6, generator=torch.Generator().manual_seed(1)).unbind()
    return Batch((first, second), LABELS, torch.arange(12))


def test_the_loss_is_that_of_first_views_among_both_views():
    method, given = small(), batch()
    features = method.encoder(given.views[0])
    before = [parameter.clone() for parameter in method.momentum_encoder.parameters()]
    loss = method(given, 0, 0, one_process(FixedBatches([given])))["loss"]
    sources = [*method.encoder.parameters(), *method.head.parameters()]
    for old, new, source in zip(before, method.momentum_encoder.parameters(), sources, strict=True):
        torch.testing.assert_close(new, 0.999 * old + 0.001 * source)  # it follows first, and then embeds
    keys = method.momentum_encoder(given.views[1])
    embeddings = torch.cat([method.head(features), keys])
    prior = log_prior(torch.bincount(LABELS))
    settings = PaCoSettings(0.05, alpha=0.01)
    expected = paco(method.classifier(features), embeddings, LABELS.repeat(2), prior, settings)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(method.queue.rows, keys)


def test_the_accuracy_is_that_of_the_raw_logits():
    method, given = small(), batch()
    logits = method.classifier(method.encoder(given.views[0]))
    accuracy = method(given, 0, 0, one_process(FixedBatches([given])))["accuracy"]
    assert float(accuracy) == pytest.approx(float((logits.argmax(1) == LABELS).float().mean()))


def test_no_gradient_reaches_the_momentum_encoder():
    method, given = small(), batch()
    method(given, 0, 0, one_process(FixedBatches([given])))["loss"].backward()
    assert all(parameter.grad is None for parameter in method.momentum_encoder.parameters())
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert all(bool(parameter.grad.any()) for parameter in trained)


def test_options_reach_the_loss_and_the_head():
    options = {"alpha": 0.2, "beta": 0.3, "gamma": 0.4, "supt": 0.5, "temperature": 0.6, "base_temperature": 0.7}
    method = small(**options, projection_hidden=9)
    assert method.settings == PaCoSettings(**options)
    assert [layer.out_features for layer in method.head.layers if hasattr(layer, "out_features")] == [9, 5]
    assert any(isinstance(layer, torch.nn.BatchNorm1d) for layer in method.head.layers)


@pytest.mark.parametrize("dataset", ["cifar100_lt", "cifar10_lt"])
def test_recipe_of_the_authors(dataset):
    config = validate(compose(["method=paco", f"dataset={dataset}"]))
    train = config.train
    assert (train.epochs, train.batch_size, train.lr, train.drop_last) == (400, 128, 0.05, True)
    assert (train.optimizer["momentum"], train.optimizer["weight_decay"]) == (0.9, 5e-4)
    assert train.schedule["milestones"] == [321, 361] and train.schedule["warm_epochs"] == 10
    assert of_method(config, "alpha", "temperature", "queue_size", "projection_dim") == [0.01, 0.05, 1024, 32]
    assert of_method(config, "views") == [["autoaugment_cutout", "sim_blur"]]


def test_official_quirks_reach_the_method_and_the_schedule():
    clean = validate(compose(["method=paco", "dataset=cifar100_lt"]))
    official = validate(compose(["method=paco", "dataset=cifar100_lt", "fidelity=official"]))
    changed = {key: value for key, value in official.method.items() if clean.method.get(key) != value}
    assert changed == {"queue_init": "official", "official_epsilon": True, "in_batch": "local"}
    assert {**official.train.schedule, "warm_mode": "clean"} == {**clean.train.schedule, "warm_mode": "clean"}
    assert official.train.schedule["warm_mode"] == "official"
