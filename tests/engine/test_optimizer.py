"""Optimisers: Adam against its equations, L2 weight decay, a restart, and a resume bit for bit."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process, stage, training
from torch import nn

from lt_bench.config.schema import Optimizer
from lt_bench.contracts import Batch, Method
from lt_bench.data.batches.source import SyncSource
from lt_bench.engine.loop import Trainer
from lt_bench.engine.optimizer import build_optimizer

INPUTS = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 3


class Regression(Method):
    views = ("plain",)

    def __init__(self, restarts=()):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.restarts = Vectors(), restarts

    def restart_epochs(self):
        return self.restarts

    def forward(self, batch, epoch, step, run):
        return {"loss": self.encoder(batch.views[0]).square().mean()}


class Slices(SyncSource):
    labels = LABELS

    def __init__(self):
        self.asked = []

    def batch(self, indices, rows, views, generator, strength=None):
        self.asked.append(indices)
        return Batch((INPUTS[indices],), LABELS[indices], indices)


def trainer(folder, method, source, epochs=4):
    settings = training(epochs, 4, name="adam", momentum=0.8, weight_decay=0.05)
    return Trainer(method, source, settings, lambda epoch, *_: 0.02 / (1 + epoch), one_process(source), stage(folder))


def adam(parameters, gradients, state, count, rate):
    """Kingma and Ba, 2015, algorithm 1, with the decay as an L2 term."""
    for parameter, gradient, moments in zip(parameters, gradients, state, strict=True):
        gradient = gradient + 0.05 * parameter.data
        moments[0] = 0.8 * moments[0] + 0.2 * gradient
        moments[1] = 0.999 * moments[1] + 0.001 * gradient**2
        first, second = moments[0] / (1 - 0.8**count), moments[1] / (1 - 0.999**count)
        parameter.data -= rate * first / (second.sqrt() + 1e-8)


def test_steps_are_those_of_adam_and_begin_anew_at_a_restart(tmp_path):
    method, source, expected = Regression(restarts=(2,)), Slices(), Regression()
    trainer(tmp_path, method, source).fit()
    parameters = list(expected.parameters())
    for index, indices in enumerate(source.asked):
        epoch, count = index // 3 % 2, index % 6 + 1  # segments of two epochs of three steps
        if count == 1:
            state = [[torch.zeros_like(parameter)] * 2 for parameter in parameters]
        loss = expected.encoder(INPUTS[indices]).square().mean()
        adam(parameters, torch.autograd.grad(loss, parameters), state, count, 0.02 / (1 + epoch))
    for found, wanted in zip(method.parameters(), parameters, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    calm = Regression()
    trainer(tmp_path, calm, Slices()).fit()
    shaken = Regression()
    for epochs in (1, 3, 4):  # a checkpoint at each end
        shaken = Regression()
        folder = tmp_path / "shaken"
        folder.mkdir(exist_ok=True)
        trainer(folder, shaken, Slices(), epochs).fit()
    for found, wanted in zip(shaken.parameters(), calm.parameters(), strict=True):
        assert torch.equal(found, wanted)


def test_names_are_checked_and_sgd_is_the_default():
    parameters = [nn.Parameter(torch.zeros(2))]
    assert isinstance(build_optimizer(parameters, training(1, 1)), torch.optim.SGD)
    with pytest.raises(ValueError, match="unknown optimizer 'lars'; there are sgd, adam"):
        build_optimizer(parameters, training(1, 1, name="lars"))
    assert Optimizer().name == "sgd"
