"""Averaged weights: their equation, an exact resume, what is evaluated and handed on, and what stays as it is."""

import pytest
import torch
from helpers.chain import assert_identical, execute, killed_until_done, results, tiny
from helpers.engine_parts import CPU, LABELS, Constant, Noisy, Vectors, one_process, stage, training
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.engine import checkpoint
from lt_bench.engine.ema import WeightAverage
from lt_bench.engine.loop import Trainer
from lt_bench.methods.ce import CE


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.frozen = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3).requires_grad_(False)
        self.tied = self.first


def test_the_average_follows_the_trained_weights_alone():
    net = Net()
    average = WeightAverage(net, 0.6)
    expected = net.first.weight.detach().clone()
    frozen = net.frozen.weight.clone()
    for count in range(40):
        with torch.no_grad():
            net.first.weight.add_(torch.randn(3, 3, generator=torch.Generator().manual_seed(count)))
        average.update(count)
        decay = min(0.6, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * net.first.weight.detach()
    state = average.state()
    torch.testing.assert_close(state["first.weight"], expected)
    assert state["tied.weight"] is state["first.weight"]
    assert set(state) == {f"{name}.{kind}" for name in ("first", "norm", "tied") for kind in ("weight", "bias")}
    own = net.first.weight.clone()
    with average.in_place():
        assert torch.equal(net.first.weight, state["first.weight"]) and torch.equal(net.frozen.weight, frozen)
    assert torch.equal(net.first.weight, own)


def test_the_weights_come_back_after_an_error():
    net = Net()
    average, own = WeightAverage(net, 0.9), net.first.weight.clone()
    average.averages[0].zero_()
    with pytest.raises(ZeroDivisionError), average.in_place():
        raise ZeroDivisionError
    assert torch.equal(net.first.weight, own)


def trainer(folder, decay, score=None):
    torch.manual_seed(0)
    method, source = CE(Vectors(), TrainInfo(LABELS, 3, 3)), Noisy()
    settings = training(3, 8, momentum=0.9)
    settings.ema_decay = decay
    return Trainer(method, source, settings, Constant(0.1), one_process(source, 3), stage(folder), score)


def test_training_goes_on_from_its_own_weights_and_hands_on_the_averaged_ones(tmp_path):
    for name in ("plain", "averaged"):
        (tmp_path / name).mkdir()
    plain, averaged = trainer(tmp_path / "plain", None), trainer(tmp_path / "averaged", 0.9)
    plain.fit()
    averaged.fit()
    states = [checkpoint.load(tmp_path / name / "checkpoint.pt", CPU) for name in ("plain", "averaged")]
    for key, value in states[0]["model"].items():
        assert torch.equal(states[1]["model"][key], value), key
    assert "average" not in states[0]
    handed = averaged.method.state_dict()
    for key, value in checkpoint.result(states[1]).items():
        assert torch.equal(handed[key], value)
    assert not torch.equal(handed["classifier.weight"], states[1]["model"]["classifier.weight"])
    again = trainer(tmp_path / "averaged", 0.9)  # a finished training is only read
    again.fit()
    assert torch.equal(again.method.classifier.weight, averaged.method.classifier.weight)


def test_the_averaged_weights_are_scored_and_kept(tmp_path):
    seen, scores = [], iter([0.1, 0.9, 0.5])

    def score():
        seen.append((one.method.classifier.weight.detach().clone(), one.average.state()["classifier.weight"].clone()))
        return next(scores)

    one = trainer(tmp_path, 0.9, score)
    state = one.fit()
    assert all(torch.equal(scored, average) for scored, average in seen)
    assert state.best["epoch"] == 1
    assert torch.equal(one.method.classifier.weight, seen[1][0])
    stored = checkpoint.load(tmp_path / "checkpoint.pt", CPU)
    assert torch.equal(checkpoint.result(stored)["classifier.weight"], seen[1][0])


WORDS = ("train.ema_decay=0.9", "checkpoint.every_steps=1")


@pytest.mark.parametrize("words", [("method=ce",), ("method=sbcl_moco", "stage_two.train.ema_decay=0.9")])
def test_a_killed_run_ends_as_one_that_was_not(words, tmp_path, monkeypatch):
    calm = results(*execute(tiny(tmp_path / "calm", *words, *WORDS)))
    killed, done = killed_until_done(tiny(tmp_path / "killed", *words, *WORDS), monkeypatch)
    assert killed
    assert_identical(calm, results(*done))
    assert done[0].settings["train.ema_decay"] == 0.9
    for path in (tmp_path / "calm").rglob("checkpoint.pt"):
        other = tmp_path / "killed" / path.relative_to(tmp_path / "calm")
        states = [torch.load(one, weights_only=True) for one in (path, other)]
        assert states[0].get("average", {}).keys() == states[1].get("average", {}).keys()
        for key, value in states[0].get("average", {}).items():
            assert torch.equal(value, states[1]["average"][key])


def test_stage_two_stands_on_the_averaged_encoder(tmp_path):
    record, folder = execute(tiny(tmp_path, "method=ce", "stage_two=cb", "train.ema_decay=0.9"))
    below = torch.load(tmp_path / record.stage_one_id / "checkpoint.pt", weights_only=True)
    above = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    name = "encoder.layers.0.weight"
    assert torch.equal(above[name], below["average"][name]) and not torch.equal(above[name], below["model"][name])


def test_momentum_encoder_and_queue_are_those_of_a_run_without_an_average(tmp_path):
    words = ("method=sbcl_moco", "stage_two=cb")
    states = []
    for folder, extra in (("plain", ()), ("averaged", ("train.ema_decay=0.9",))):
        record, _ = execute(tiny(tmp_path / folder, *words, *extra))
        states.append(torch.load(tmp_path / folder / record.stage_one_id / "checkpoint.pt", weights_only=True))
    for key, value in states[0]["model"].items():
        assert torch.equal(states[1]["model"][key], value), key
    kept = {key for key in states[0]["model"] if key not in states[1]["average"]}
    assert any("queue" in key for key in kept) and any("momentum" in key for key in kept)
