"""NCL: the authors' trace, rates and recipes, and what its loss is made of."""

import numpy as np
import pytest
import torch
from helpers.chain import of_method
from helpers.experts import follow
from helpers.golden_vectors import FOLDER, golden

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.methods.experts import Experts
from lt_bench.methods.ncl import NCL, hard_classes
from lt_bench.models.heads import BiasedCosine
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate

INFO = TrainInfo(torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2])), 3, 10)


def test_trains_as_the_authors_code_does(tmp_path):
    counts = golden("experts_step_ncl")["counts"]
    buffers = {"criterion.log_counts": counts.double().log()}
    follow("experts_step_ncl", NCL, tmp_path, buffers, shared_stages=0, hard_share=0.5, hard_fill="zero")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dataset=cifar100_lt"], "ncl_cifar_400"),
        (["dataset=imagenet_lt"], "ncl_imagenet_200"),
        (["dataset=inat18"], "ncl_inat_400"),
        (["dataset=places_lt"], "ncl_places_30"),
    ],
)
def test_rates_are_the_authors_and_without_their_shift_an_epoch_later(words, name):
    expected = np.load(FOLDER / "experts_lr.npz")[name]
    official, clean = (
        validate(compose(["method=ncl", *words, f"fidelity={fidelity}"])).train for fidelity in ("official", "clean")
    )
    found, later = (
        [build(one.schedule, "train.schedule")(epoch, 0, 10) for epoch in range(one.epochs)]
        for one in (official, clean)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    begun = clean.schedule["warm_epochs"] + 1
    np.testing.assert_allclose(later[begun:], expected[begun - 1 : -1], rtol=1e-6)
    assert max(later) == clean.lr


@pytest.mark.parametrize(
    ("dataset", "classes", "hard", "values"),
    [
        ("cifar100_lt", 100, 30, (400, 64, 0.1, "linear", 16.0)),
        ("imagenet_lt", 1000, 300, (200, 256, 0.2, "cosine", 16.0)),
        ("inat18", 8142, 2442, (400, 512, 0.2, "cosine", 32.0)),
        ("places_lt", 365, 122, (30, 256, 0.02, "cosine", 16.0)),
    ],
)
def test_recipes_are_the_authors(dataset, classes, hard, values):
    config = validate(compose(["method=ncl", f"dataset={dataset}"]))
    train, (share, *head) = config.train, of_method(config, "hard_share", "classifier", "scale")
    assert (train.epochs, train.batch_size, train.lr, *head) == values
    assert hard_classes(share, classes) == hard and config.method["experts"]["shared_stages"] == 0
    assert (train.drop_last, train.optimizer["weight_decay"], train.optimizer["nesterov"]) == (True, 2e-4, True)


def test_the_hardest_classes_are_two_or_more_where_there_are_as_many():
    assert [hard_classes(share, count) for share, count in ((0.3, 10), (0.29, 100), (0.01, 4), (0.5, 1))] == [
        3,
        29,
        2,
        1,
    ]


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_classifier_is_linear_or_of_cosines_with_a_bias(kind):
    method = NCL(TinyEncoder(), INFO, experts=Experts(2, 0), classifier=kind, scale=32.0)
    (first, _) = method.classifier.heads
    assert isinstance(first, torch.nn.Linear if kind == "linear" else BiasedCosine)
    assert len(method.encoder.tails) == 2 and not [*method.encoder.trunk.parameters()]
    assert kind == "linear" or first.scale == 32.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"experts": None}, "experts is given"),
        ({"hard_share": 0.0}, "hard_share is above 0 and at most 1"),
        ({"hard_fill": "none"}, "hard_fill is exclude or zero"),
        ({"factor_hard": -1.0}, "factor_hard is 0 or more"),
        ({"classifier": "biased"}, "classifier is linear or cosine"),
        ({"scale": 0.0}, "scale is above 0"),
    ],
)
def test_values_out_of_range_are_refused(values, said):
    with pytest.raises(SettingError, match=said):
        NCL(TinyEncoder(), INFO, **({"experts": Experts(2, 0)} | values))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experts=none"], "method=ncl is nothing without method.experts"),
        (["stage_two=tau_norm"], "needs a linear classifier"),
        (["backbone.pretrained=torchvision", "backbone=resnet50"], "set method.experts.copied=true"),
    ],
)
def test_what_it_cannot_be_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        validate(compose(["method=ncl", *words]))
