"""SADE: the authors' trace, rates and recipes."""

import numpy as np
import pytest
import torch
from helpers.experts import follow
from helpers.golden_vectors import FOLDER, golden

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.experts import skill_biases
from lt_bench.methods.experts import Experts
from lt_bench.methods.sade import SADE
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate

INFO = TrainInfo(torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2])), 3, 10)


def test_trains_as_the_authors_code_does(tmp_path):
    case = golden("experts_step_sade")
    follow("experts_step_sade", SADE, tmp_path, {"bias": skill_biases(case["counts"], float(case["tau"]))})


@pytest.mark.parametrize(
    ("dataset", "name", "factor"),
    [
        ("cifar100_lt", "sade_cifar_200", 1.0),
        ("cifar10_lt", "sade_cifar_200", 0.5),
        ("imagenet_lt", "sade_imagenet_180", 1.0),
        ("inat18", "ride_inat_100", 1.0),
        ("places_lt", "sade_places_backbone_30", 1.0),
    ],
)
def test_rates_are_the_authors(dataset, name, factor):
    train = validate(compose(["method=sade", f"dataset={dataset}"])).train
    schedule, stored = build(train.schedule, "train.schedule"), np.load(FOLDER / "experts_lr.npz")
    found = np.array([schedule(epoch, 0, 10) for epoch in range(train.epochs)])
    np.testing.assert_allclose(found, factor * stored[name], rtol=1e-9)
    if dataset == "places_lt":
        np.testing.assert_allclose(train.head_lr_factor * found, stored["sade_places_heads_30"], rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"experts": Experts(2)}, "experts.count is 3"),
        ({"experts": None}, "experts is given"),
        ({"experts": Experts(), "tau": -1.0}, "tau is 0 or more"),
        ({"experts": Experts(), "scale": 0.0}, "scale is above 0"),
    ],
)
def test_values_out_of_range_are_refused(values, said):
    with pytest.raises(SettingError, match=said):
        SADE(TinyEncoder(), INFO, **values)
