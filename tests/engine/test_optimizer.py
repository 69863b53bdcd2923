"""Optimisers: Adam against its equations, restarts and resumes, any class, the bits of before, clipped gradients."""

import json
from typing import NamedTuple

import pytest
import torch
from benchmarks.harness import HostReads
from helpers.chain import assert_identical, execute, results, tiny
from helpers.engine_parts import CPU, Constant, Noisy, Vectors, one_process, stage, training
from helpers.engine_parts import LABELS as NOISY_LABELS
from helpers.two_processes import on_two
from torch import nn

from lt_bench.config.optimizers import names, of_name
from lt_bench.contracts import Batch, Method, ParameterGroup, TrainInfo
from lt_bench.data.batches.source import SyncSource
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.engine.optimizer import build_optimizer
from lt_bench.engine.precision import Precision
from lt_bench.methods.ce import CE

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


def built(device=CPU, **settings):
    groups = [ParameterGroup("all", [nn.Parameter(torch.ones(3))])]
    return build_optimizer(groups, training(1, 1, **settings), device)


def test_sgd_is_the_default():
    found = built()
    assert type(found) is torch.optim.SGD
    assert (found.defaults["momentum"], found.defaults["weight_decay"], found.defaults["nesterov"]) == (0.9, 0.0, False)


@pytest.mark.parametrize("name", names())
def test_every_file_builds_its_class_with_its_values(name):
    values = of_name(name)
    found = built(**values)
    assert f"torch.optim.{type(found).__name__}" == values.pop("_target_")
    for key, value in values.items():
        assert found.defaults[key] == (tuple(value) if isinstance(value, list) else value), key


class Halving(torch.optim.SGD):
    """A class of one's own: every rate is halved."""

    def __init__(self, params, lr, sharpness=2.0):
        super().__init__(params, lr)
        self.sharpness = sharpness

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] /= self.sharpness
        return super().step(closure)


def test_a_class_of_ones_own_is_given_parameters_and_rate():
    found = built(_target_=f"{__name__}.Halving", sharpness=4.0)
    assert type(found) is Halving and found.sharpness == 4.0 and found.defaults["lr"] == 0.1


@pytest.mark.parametrize(("kind", "on_cpu"), [("SGD", False), ("Adam", True), ("AdamW", True), ("NAdam", None)])
def test_the_fused_form_is_taken_where_there_is_one(kind, on_cpu, monkeypatch):
    """Which keywords a class is given: None of the two forms where PyTorch chooses."""
    seen = []
    original = getattr(torch.optim, kind)
    watched = type(kind, (original,), {"__init__": lambda self, params, **given: seen.append(given)})
    monkeypatch.setattr(torch.optim, kind, watched)
    for device in ("cpu", "cuda"):
        built(torch.device(device), _target_=f"torch.optim.{kind}")
    assert [given.get("fused", False) for given in seen] == [bool(on_cpu), on_cpu is not None]
    assert not any("foreach" in given for given in seen)


class Older(NamedTuple):
    """The words for an optimiser before it was a class."""

    name: str
    momentum: float
    weight_decay: float

    def fit(self, trainer):
        """The loop of before, on one process and without intervals."""
        parameters = [parameter for parameter in trainer.method.parameters() if parameter.requires_grad]
        if self.name == "sgd":
            optimizer = torch.optim.SGD(parameters, 0.1, self.momentum, 0.0, self.weight_decay, False)
        else:
            betas = (self.momentum, 0.999)
            optimizer = torch.optim.Adam(parameters, 0.1, betas, weight_decay=self.weight_decay, fused=True)
        for epoch in range(trainer.training.epochs):
            trainer.context.epoch, trainer.state.step = epoch, 0
            trainer.method.train()
            trainer.method.on_epoch_start(epoch, trainer.context)
            for batch in trainer.batches(epoch):
                for group in optimizer.param_groups:
                    group["lr"] = trainer.schedule(epoch, trainer.state.step, trainer.steps_per_epoch)
                optimizer.zero_grad()
                trainer.method(batch, epoch, trainer.state.step, trainer.context)["loss"].backward()
                optimizer.step()
                trainer.state.step += 1
        trainer.state.epoch, trainer.state.step = trainer.training.epochs, 0
        trainer._save()
        return trainer.state


SGD = Older("sgd", 0.9, 5e-3)
RUNS = [
    (["method=ce"], SGD, None),
    (["method=ce", "stage_two=cb"], SGD, Older("sgd", 0.9, 0.0)),
    (["method=ce", "stage_two=linear_probe"], SGD, Older("adam", 0.9, 5e-6)),
    (["method=ce", "train.optimizer={name:adam,momentum:0.8}"], Older("adam", 0.8, 5e-3), None),
]


@pytest.mark.parametrize(("words", "first", "second"), RUNS)
def test_runs_of_sgd_and_adam_have_the_bits_of_before(words, first, second, tmp_path, monkeypatch):
    found = results(*execute(tiny(tmp_path / "now", *words)))
    monkeypatch.setattr(Trainer, "fit", lambda self: (first if self.stage.name == "stage one" else second).fit(self))
    before = results(*execute(tiny(tmp_path / "before", *words)))
    assert found.pop("curves") and not before.pop("curves")  # which the loop of before did not write
    assert_identical(found, before)


@pytest.mark.parametrize("name", names())
def test_every_file_trains_and_goes_on_bit_for_bit(name, tmp_path):
    def train(folder, *epochs):
        (tmp_path / folder).mkdir()
        for last in epochs:  # each goes on from the checkpoint of the one before
            method = Regression()
            settings = training(last, 4, **of_name(name))
            source = Slices()
            Trainer(method, source, settings, Constant(0.01), one_process(source), stage(tmp_path / folder)).fit()
        return method.state_dict()

    start, calm, shaken = Regression().state_dict(), train("calm", 3), train("shaken", 1, 3)
    for key, value in calm.items():
        assert torch.equal(value, shaken[key]) and not torch.equal(value, start[key])


class Clipped:
    """The weights and logged norms of three steps with clipped gradients, in passes of a size."""

    def __init__(self, clip_norm, microbatch=None):
        self.clip_norm, self.microbatch = clip_norm, microbatch

    def __call__(self, processes, folder):
        torch.manual_seed(0)
        method, source = CE(Vectors(), TrainInfo(NOISY_LABELS, 3, 1)).double(), Noisy(INPUTS_64, NOISY_LABELS, 0.0)
        settings = training(1, 8, momentum=0.5)
        settings.clip_norm, settings.microbatch = self.clip_norm, self.microbatch
        context = EngineContext(processes, 3, source)
        own = folder / f"rank{processes.rank}"
        own.mkdir(exist_ok=True)
        trainer = Trainer(method, source, settings, Constant(0.5), context, stage(own))
        method.train()
        norms = []
        for step, batch in enumerate(trainer.batches(0)):
            norms.append(trainer._step(batch, 0, step, 0.5).get("gradient_norm", torch.tensor(0.0)))
        return {**method.state_dict(), "norms": torch.stack(norms)}


INPUTS_64 = torch.randn(26, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
ALONE = Processes(0, 1, CPU)


def test_the_norm_of_all_gradients_together_is_bounded(tmp_path):
    """Against the equation: g is multiplied by min(1, c / norm), before momentum sees it."""
    found = Clipped(0.1)(ALONE, tmp_path)
    torch.manual_seed(0)
    method, source = CE(Vectors(), TrainInfo(NOISY_LABELS, 3, 1)).double(), Noisy(INPUTS_64, NOISY_LABELS, 0.0)
    trainer = Trainer(method, source, training(1, 8), Constant(0.5), one_process(source, 3), stage(tmp_path))
    momenta, norms = [torch.zeros_like(one) for one in method.parameters()], []
    for batch in trainer.batches(0):
        gradients = torch.autograd.grad(method(batch, 0, 0, trainer.context)["loss"], list(method.parameters()))
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm())
        factor = min(1.0, 0.1 / float(norms[-1]))
        for one, gradient, momentum in zip(method.parameters(), gradients, momenta, strict=True):
            momentum.mul_(0.5).add_(factor * gradient)
            one.data -= 0.5 * momentum
    assert min(norms) > 0.1
    torch.testing.assert_close(found["norms"], torch.stack(norms))
    for key, value in method.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_a_large_bound_changes_no_bit_and_micro_batches_are_clipped_together(tmp_path):
    plain, loose = Clipped(None)(ALONE, tmp_path), Clipped(1e9)(ALONE, tmp_path)
    for key in plain.keys() - {"norms"}:
        assert torch.equal(plain[key], loose[key])
    whole, parts = Clipped(0.1)(ALONE, tmp_path), Clipped(0.1, microbatch=3)(ALONE, tmp_path)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value)
        assert key == "norms" or not torch.equal(value, plain[key])


@pytest.mark.slow
def test_two_processes_clip_the_gradient_of_the_joined_batch(tmp_path):
    expected = Clipped(0.1)(ALONE, tmp_path)
    for found in on_two(Clipped(0.1)):
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value)


def test_the_mean_norm_is_written_down(tmp_path):
    execute(tiny(tmp_path, "method=ce", "train.clip_norm=0.5"))
    rows = [json.loads(line) for path in tmp_path.rglob("metrics.jsonl") for line in path.read_text().splitlines()]
    assert rows and all(row["gradient_norm"] > 0 for row in rows if row["stage"] == "stage one")


def test_scaled_gradients_are_unscaled_before_they_are_clipped():
    """As on CUDA in fp16, with a scaler that is set by hand."""
    precision = Precision("float32", CPU)
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], 1.0)
    precision.backward((weight * torch.tensor([30.0, 40.0])).sum())
    assert float(precision.clip(optimizer, 5.0)) == pytest.approx(50)
    precision.step(optimizer)
    torch.testing.assert_close(weight.detach(), torch.tensor([0.0, 0.0]), atol=1e-5, rtol=0)
    optimizer.zero_grad()
    precision.backward((weight * torch.inf).sum())
    assert float(precision.clip(optimizer, 5.0)) == 0
    precision.step(optimizer)  # left out
    assert torch.isfinite(weight).all() and precision.scaler.get_scale() == 512


def test_a_step_with_everything_reads_nothing_on_the_host(tmp_path):
    source = Slices()
    settings = training(1, 4, name="adamw")
    settings.clip_norm, settings.ema_decay, settings.decay_bias_and_norm = 0.1, 0.9, False
    settings.layer_decay, settings.head_lr_factor = 0.5, 2.0
    one = Trainer(Regression(), source, settings, Constant(0.1), one_process(source), stage(tmp_path))
    batches = one.batches(0)
    one.means.add(one._step(next(batches), 0, 0, 0.1), 0)
    with HostReads() as reads:
        one.means.add(one._step(next(batches), 0, 1, 0.1), 1)
    assert reads.found == []
