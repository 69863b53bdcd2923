"""BalPoE: the authors' trace, rates and recipes, and what it is with experts that are alike."""

import numpy as np
import pytest
import torch
from helpers.experts import follow
from helpers.golden_vectors import FOLDER, golden
from helpers.mixing_steps import as_drawn

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.losses.experts import log_shares
from lt_bench.methods.balpoe import BalPoE
from lt_bench.methods.experts import Experts
from lt_bench.methods.mixing import MixUp
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate

INFO = TrainInfo(torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2])), 3, 10)


def test_trains_as_the_authors_code_does(tmp_path, monkeypatch):
    case = golden("experts_step_balpoe")
    drawn = {f"s{step}_lam": case[f"s{step}_mix"] for step in range(3)}
    as_drawn(monkeypatch, drawn | {f"s{step}_permutation": case[f"s{step}_partner"].long() for step in range(3)})
    bias = case["taus"][:, None] * log_shares(case["counts"])
    follow("experts_step_balpoe", BalPoE, tmp_path, {"bias": bias}, MixUp(float(case["mixup_alpha"])))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dataset=cifar100_lt"], "sade_cifar_200"),
        (["dataset=imagenet_lt"], "sade_imagenet_180"),
        (["dataset=inat18"], "balpoe_inat_100"),
    ],
)
def test_rates_are_the_authors(words, name):
    train = validate(compose(["method=balpoe", *words])).train
    schedule, expected = build(train.schedule, "train.schedule"), np.load(FOLDER / "experts_lr.npz")[name]
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(train.epochs)], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tau_min": 3.0}, "tau_max is at least tau_min=3"),
        ({"scale": 0.0}, "scale is above 0"),
        ({"spread": "even"}, "spread is limits or uniform"),
    ],
)
def test_values_out_of_range_are_refused(values, said):
    with pytest.raises(SettingError, match=said):
        BalPoE(TinyEncoder(), INFO, experts=Experts(), **values)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experts=split"], "experts=split: method=balpoe has that by itself"),
        (["experts=none"], "method=balpoe is nothing without method.experts; leave experts=none out"),
        (["backbone.pretrained=torchvision", "backbone=resnet50"], "set method.experts.copied=true"),
        (["stage_two=tau_norm"], "needs a linear classifier"),
    ],
)
def test_what_it_cannot_be_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        validate(compose(["method=balpoe", *words]))
