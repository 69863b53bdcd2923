"""Reduced precision: what a device gets, every method's loss under autocast, the loss scale and its resume."""

import itertools
import logging

import pytest
import torch
from helpers.chain import assert_identical, execute, results, tiny
from helpers.engine_parts import CPU, Constant, FixedBatches, one_process, stage, training
from helpers.sampling import each_value_once, methods_for
from torch import nn

from lt_bench.augment.views import build_view
from lt_bench.contracts import Batch, Method, TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine import precision as module
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.engine.precision import Precision, resolve, set_switches
from lt_bench.errors import UsageError
from lt_bench.models.tiny import TinyEncoder
from lt_bench.run.build import build
from lt_bench.run.stages import Runner

CUDA = torch.device("cuda")


def test_auto_is_what_the_device_is_good_at(monkeypatch):
    assert resolve("auto", CPU) == resolve("float32", CPU) == "float32"
    for has_bf16, chosen in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation, has=has_bf16: has)
        assert resolve("auto", CUDA) == chosen
    assert resolve("fp16", CUDA) == "fp16"


def test_fp16_on_a_cpu_is_refused_before_any_training(tmp_path):
    for key in ("train", "stage_two.train"):
        said = f"^{key}.precision is .* without a CUDA device, not 'fp16'; set {key}.precision=float32$"
        with pytest.raises(UsageError, match=said):
            execute(tiny(tmp_path, f"{key}.precision=fp16"))
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_bf16_on_a_cpu_that_emulates_it_is_warned_of(monkeypatch, caplog):
    for has_bf16 in (True, False):
        monkeypatch.setattr(module, "_cpu_has_bf16", lambda has=has_bf16: has)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert resolve("bf16", CPU) == "bf16"
        assert ("slower" in caplog.text) is not has_bf16


@pytest.mark.parametrize(
    ("name", "epoch"), each_value_once(itertools.product(methods_for(), (0, 15)), of_families=True)
)
def test_a_loss_in_bf16_is_that_in_float32_to_its_digits(name, epoch, tmp_path):
    config = tiny(tmp_path, f"method={name}")
    labels = torch.arange(48) % 11 % 4
    images = torch.randint(0, 256, (48, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
    losses = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        method = build(config.method, "method", TinyEncoder(), TrainInfo(labels, 4, 20))
        run = one_process(source)
        run.module = method
        method.on_epoch_start(epoch, run)
        drawn = torch.Generator().manual_seed(1)
        batch = source.batch(torch.arange(24), slice(None), method.views, drawn, method.strength())
        if method.needs_partner(epoch, 0, run):
            batch = batch._replace(partner=batch)
        batch = method.mixed(batch, epoch, 0, run)
        with Precision(precision, CPU).autocast():
            terms = method(batch, epoch, 0, run)
        terms["loss"].backward()
        losses[precision] = terms["loss"].detach()
        trained = [parameter.grad for parameter in method.parameters() if parameter.requires_grad]
        assert all(bool(gradient.isfinite().all()) for gradient in trained if gradient is not None)
    assert losses["bf16"].dtype == torch.float32
    torch.testing.assert_close(losses["bf16"], losses["float32"], rtol=0.05, atol=0.02)


class Regression(Method):
    """A small regression whose loss overflows in one step."""

    views = ("plain",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(6, 3)
        self.seen = []

    def forward(self, batch, epoch, step, run):
        outputs = self.encoder(batch.views[0])
        self.seen.append(outputs.dtype)
        factor = 1e38 if (epoch, step) == (1, 0) else 1.0  # finite itself, but not its scaled gradient
        return {"loss": factor * outputs.float().square().mean()}


def fp16_trainer(folder, monkeypatch, epochs, **intervals):
    monkeypatch.setattr("lt_bench.engine.loop.resolve", lambda name, device: name)
    rows = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    source = FixedBatches([Batch((rows,), torch.zeros(8, dtype=torch.int64), torch.arange(8))])
    settings = training(epochs, 4, momentum=0.9)
    settings.precision = "fp16"
    return Trainer(Regression(), source, settings, Constant(0.01), one_process(source), stage(folder, **intervals))


def test_a_step_that_overflows_is_left_out_and_the_scale_follows_and_is_resumed(tmp_path, monkeypatch):
    trainer = fp16_trainer(tmp_path, monkeypatch, 3)
    weights, scales = [], []
    step = trainer._step

    def watched(*words):
        terms = step(*words)
        weights.append(trainer.method.encoder.weight.detach().clone())
        scales.append(trainer.precision.scaler.get_scale())
        return terms

    trainer._step = watched
    trainer.fit()
    assert set(trainer.method.seen) == {torch.float16}
    same = [torch.equal(one, next_) for one, next_ in zip(weights, weights[1:], strict=False)]
    assert same == [False, True, False, False, False]  # only the third step is left out
    assert scales == [65536.0] * 2 + [32768.0] * 4
    resumed = fp16_trainer(tmp_path, monkeypatch, 4)
    assert resumed.precision.scaler.get_scale() == 65536.0
    resumed.fit()
    (tmp_path / "whole").mkdir()
    whole = fp16_trainer(tmp_path / "whole", monkeypatch, 4)
    whole.fit()
    assert resumed.precision.state() == whole.precision.state() and resumed.precision.state()["scale"] == 32768.0
    assert torch.equal(resumed.method.encoder.weight, whole.method.encoder.weight)


def test_switches_are_set_and_set_back():
    try:
        set_switches(tf32=True, deterministic=True)
        assert torch.get_float32_matmul_precision() == "high" and torch.are_deterministic_algorithms_enabled()
        set_switches(tf32=False, deterministic=False)
        assert not torch.backends.cudnn.allow_tf32
    finally:
        set_switches(tf32=None, deterministic=False)
    assert torch.get_float32_matmul_precision() == "highest" and torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_in_bf16_says_so_and_is_another_run(tmp_path):
    record, _ = execute(tiny(tmp_path, "method=ce", "train.precision=bf16", "deterministic=true", "tf32=false"))
    said = {"precision": ["bf16"], "deterministic": True, "tf32": False, "compile": False}
    assert {key: record.environment[key] for key in said} == said
    assert record.settings["train.precision"] == "bf16" and not torch.get_autocast_dtype("cpu") == torch.float16
    plain, _ = execute(tiny(tmp_path, "method=ce"))
    assert plain.run_id != record.run_id and plain.environment["precision"] == ["float32"]


def test_deterministic_kernels_give_the_same_run(tmp_path):
    found = [results(*execute(tiny(tmp_path / word, f"deterministic={word}"))) for word in ("true", "false")]
    assert_identical(*found)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "paco", "sbcl_moco", "sdclr"])
def test_a_compiled_encoder_trains_as_it_would_and_its_state_has_the_same_names(method, tmp_path):
    # at a low rate, because rounding grows with every step
    words = (f"method={method}", "train.lr=0.001")
    first, second = (results(*execute(tiny(tmp_path / word, *words, f"compile={word}"))) for word in ("true", "false"))
    assert first["stage one"].keys() == second["stage one"].keys()
    for key, value in first["stage one"].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, second["stage one"][key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "copies"), [("ce", 0), ("gpaco", 0), ("paco", 1), ("sbcl_moco", 1)])
def test_encoders_are_compiled_with_their_momentum_copies_and_nothing_else(method, copies, tmp_path):
    built, plain = (
        Runner(tiny(tmp_path, f"method={method}", f"compile={word}"), Processes(0, 1, CPU))._new_method()
        for word in ("true", "false")
    )
    compiled = [name for name, part in built.named_modules() if part._compiled_call_impl is not None]
    assert compiled == ["encoder", *["momentum_encoder"] * copies]
    assert all(part._compiled_call_impl is None for part in plain.modules())
    assert built.state_dict().keys() == plain.state_dict().keys()
