"""Experiments of papers' tables train by the values of the authors' code, which golden schedules say."""

import numpy as np
import pytest
from helpers.golden_vectors import FOLDER
from hydra.utils import instantiate

from lt_bench.config.compose import compose
from lt_bench.launch.planning.plan import expand
from lt_bench.preflight.validate import validate


def runs_of(experiment, **chosen):
    """The validated configs of the runs of an experiment with some choices, each once for all seeds."""
    words = (
        tuple(word for word in run if not word.startswith("seed=")) for run in expand([f"experiment={experiment}"])
    )
    wanted = {f"{group}={name}" for group, name in chosen.items()}
    return [validate(compose(run)) for run in dict.fromkeys(words) if wanted <= {*run}]


@pytest.mark.parametrize(
    ("experiment", "chosen", "golden"),
    [
        ("lade", {"dataset": "cifar100_lt"}, "lade_cifar"),
        ("lade", {"dataset": "imagenet_lt"}, "lade_imagenet"),
        ("weight_balancing", {"stage_two": "weight_balancing"}, "weight_balancing_stage1"),
        ("gcl_large", {"dataset": "places_lt", "stage_two": "gcl"}, "gcl_places_stage1"),
        ("cmo_large", {"dataset": "imagenet_lt", "mixing": "none"}, "cmo_imagenet_100"),
        ("cmo_large", {"dataset": "imagenet_lt", "variant": "strong"}, "cmo_imagenet_cosine"),
        ("balpoe_long", {"dataset": "cifar100_lt", "imbalance": "if100"}, "balpoe_cifar_long_400"),
        ("balpoe_long", {"dataset": "imagenet_lt", "backbone": "resnet50"}, "balpoe_imagenet_long_400"),
        ("balpoe_strong", {"dataset": "inat18"}, "balpoe_inat_100"),
    ],
)
def test_the_rates_are_those_of_the_authors_code(experiment, chosen, golden):
    (config,) = runs_of(experiment, **chosen)
    rates = np.load(FOLDER / f"{'experts' if experiment.startswith('balpoe') else 'mixing'}_lr.npz")[golden]
    schedule = instantiate(config.train.schedule)
    assert config.train.epochs == len(rates)
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(len(rates))], rates, rtol=1e-6, atol=1e-12)


def test_what_is_mixed_begins_and_ends_as_in_the_authors_code():
    for config in runs_of("cmo_large", mixing="cmo"):
        mixing = config.method["mixing"]
        assert (mixing["start_epoch"], mixing["last_plain_epochs"], mixing["partner_exponent"]) == (4, 3, 1.0)
        assert config.train.batch_size == (256 if config.dataset.name == "inat18" else 128)


def test_the_rows_of_the_tables_are_there():
    table = {(one.dataset.name, one.stage_two.name, one.backbone["name"]) for one in runs_of("gcl_large")}
    networks = {"imagenet_lt": "resnet50", "inat18": "resnet50", "places_lt": "resnet152"}
    assert table == {(name, rule, network) for name, network in networks.items() for rule in ("none", "gcl")}
    (cifar,) = runs_of("lade", dataset="cifar100_lt")
    assert (cifar.backbone["name"], cifar.train.batch_size) == ("resnet32_cifar_bbn", 256)
    assert cifar.train.optimizer["weight_decay"] == 5e-4 and cifar.method["regularisation"] == 0.01
    (naturalist,) = runs_of("lade", dataset="inat18")
    assert naturalist.train.optimizer["weight_decay"] == 1e-4 and naturalist.train.schedule["span"] == "to_zero"
    rules = {one.stage_two.name: one for one in runs_of("weight_balancing")}
    assert rules.keys() == {"none", "tau_norm", "weight_balancing"}
    assert all(one.train.optimizer["weight_decay"] == 5e-3 and one.train.batch_size == 64 for one in rules.values())
