"""The router of experts as a stage two: what is trained, what a run records of it, what is refused."""

import numpy as np
import pytest
import torch
from helpers.chain import resumed_in_its_last_epoch, tiny
from helpers.configs import refusal, settled
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.models.experts import ExpertHeads
from lt_bench.models.tiny import TinyEncoder
from lt_bench.predict.predictor import load
from lt_bench.run.execute import execute
from lt_bench.stage_two.router import ExpertRouter

INFO = TrainInfo(torch.arange(12) % 3, 3, 2)
WORDS = ("method=ride", "stage_two=router", "dataset=digits_lt", "device=cpu")


def test_the_router_alone_is_trained():
    encoder = TinyEncoder()
    method = ExpertRouter().build(encoder, ExpertHeads(nn.Linear(encoder.feature_dim // 2, 3), 2), INFO)
    trained = {name for name, one in method.named_parameters() if one.requires_grad}
    assert trained == {f"classifier.{name}" for name in ("weight", "bias", "score.weight", "score.bias")}


def test_its_values_are_the_authors():
    config = settled("method=ride", "dataset=cifar100_lt", "stage_two=router")
    train, options = config.stage_two.train, config.stage_two.options
    assert (train.epochs, train.batch_size, train.lr, train.sampler) == (5, 512, 0.01, "balanced")
    assert (options["top"], options["positive_weight"]) == (30, 100.0)
    assert train.optimizer == {**train.optimizer, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


def test_a_run_records_how_many_experts_images_take_and_what_that_costs(tmp_path):
    record, folder = execute(tiny(tmp_path, *WORDS))
    shares, cost = record.cost["experts_used"], record.cost
    assert len(shares) == 3 and sum(shares) == pytest.approx(1, abs=1e-5)
    assert 0 < cost["mean_flops"] <= cost["flops"]
    made = load_predictions(folder / "predictions.npz")
    assert list(made.logits_by_name) == ["logits", "expert0", "expert1", "expert2", "mean"]
    experts = np.stack([made.logits_by_name[f"expert{number}"] for number in range(3)])
    means = experts.cumsum(axis=0) / np.arange(1, 4)[:, None, None]
    taken = np.abs(means - made.logits).max(axis=2).argmin(axis=0)
    assert np.bincount(taken, minlength=3) / len(taken) == pytest.approx(shares, abs=1e-5)
    np.testing.assert_allclose(made.logits, means[taken, np.arange(len(taken))], rtol=1e-4, atol=1e-4)
    assert type(load(folder).classifier).__name__ == "RoutedExperts"


@pytest.mark.slow
def test_it_goes_on_exactly(tmp_path, monkeypatch):
    resumed_in_its_last_epoch(monkeypatch, tmp_path, *WORDS)


def test_what_cannot_be_is_refused():
    assert "stage_two=router needs experts and method=ce has none" in refusal("method=ce", "stage_two=router")
    with pytest.raises(UsageError, match="needs a classifier of several experts"):
        ExpertRouter().build(TinyEncoder(), nn.Linear(4, 3), INFO)
    for values, said in (({"top": 0}, "top is 1 or more"), ({"positive_weight": 0.0}, "positive_weight is above 0")):
        with pytest.raises(SettingError, match=said):
            ExpertRouter(**values)
