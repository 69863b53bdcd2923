"""On a GPU: a CIFAR-sized step of every method and trained rule, whole runs that are killed, sweeps, images on disk."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import image_trees
from helpers.chain import (
    TINY,
    assert_identical,
    classifier_for,
    execute,
    killed_until_done,
    method_for,
    results,
    tiny,
    trained_rules,
)
from helpers.sampling import methods_for
from torch import Tensor

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose, groups
from lt_bench.contracts import Batch, Mix, TrainInfo
from lt_bench.data.batches.in_memory import CachedFeatures, InMemoryImages
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.engine.precision import set_switches
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CASES = [*(("method", name) for name in methods_for()), *(("stage_two", rule) for rule in trained_rules())]
CLASSES = 100


def cifar_trainer(kind: str, name: str, folder: Path, precision: str = "auto") -> Trainer:
    """A trainer on the GPU with a recipe's network and batch size, on 1,200 images of noise of 100 classes."""
    words = ["stage_two=cb", f"{kind}={name}", "dataset=cifar100_lt", f"output_dir={folder}"]
    words += [f"method={method_for(name)}"] if kind == "stage_two" else []
    config = validate(compose(words))
    device = torch.device("cuda", 0)
    torch.manual_seed(0)
    labels = (torch.arange(1200) % CLASSES).to(device)
    images = torch.randint(0, 256, (len(labels), 3, 32, 32), dtype=torch.uint8, device=device)
    source: Any = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
    info, encoder = TrainInfo(labels, CLASSES, 20), resnet32_cifar()
    if kind == "method":
        method, training = build(config.method, "method", build(config.backbone, "backbone"), info), config.train
    else:
        rule = build(config.stage_two.parameters(), "stage_two")
        method = rule.build(encoder, classifier_for(name, encoder.feature_dim, CLASSES), info)
        training = config.stage_two.train
    if method.views == ("features",):
        source = CachedFeatures(torch.randn(len(labels), encoder.feature_dim, device=device), labels)
    training.precision = precision
    context = EngineContext(Processes(0, 1, device), 0, source)
    stage = Stage("stage", folder, "c.pt", config.budget, config.checkpoint, False)
    method = method.to(device, memory_format=torch.channels_last).train()
    return Trainer(method, source, training, build(training.schedule, "train.schedule"), context, stage)


@pytest.mark.parametrize("precision", ["auto", "float32"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_step_is_finite_and_waits_for_nothing(kind, name, precision, tmp_path):
    trainer = cifar_trainer(kind, name, tmp_path, precision)
    for epoch in (0, 15):
        trainer.method.on_epoch_start(epoch, trainer.context)
        batches = trainer.batches(epoch)
        trainer.means.add(trainer._step(next(batches), epoch, 0, 0.1), 0)
        prepared = next(batches)
        torch.cuda.set_sync_debug_mode("error")  # whatever makes the host wait for the device raises
        try:
            terms = trainer._step(prepared, epoch, 1, 0.1)
            trainer.means.add(terms, 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert all(bool(value.isfinite().all()) for value in terms.values())


@pytest.mark.parametrize("name", methods_for())
def test_the_data_of_a_step_wait_for_nothing(name, tmp_path):
    trainer = cifar_trainer("method", name, tmp_path)
    next(trainer.batches(0))
    indices = torch.arange(128, device="cuda")
    generators = [trainer.context.generator("augment", 0, step) for step in range(2)]
    strength = trainer.method.strength()
    trainer.source.batch(indices, slice(0, 128), trainer.method.views, generators[0], strength)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.source.batch(indices, slice(0, 128), trainer.method.views, generators[1], strength)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def moved(value: Any, device: str) -> Any:
    """Tensors in a mixed batch on another device."""
    mix = None if value.mix is None else Mix(*(one.to(device) for one in value.mix))
    views, labels, indices = tuple(view.to(device) for view in value.views), value.labels, value.indices
    return Batch(views, labels.to(device), indices.to(device), mix=mix)


class OnDevice:
    """The context of a method that stands on another device than its trainer."""

    def __init__(self, context: EngineContext, device: str) -> None:
        self.__dict__.update(context.__dict__)
        self.device = torch.device(device)

    def gather(self, rows: Tensor) -> Tensor:
        """The only process's rows."""
        return rows

    def generator(self, stream: str, *key: int) -> torch.Generator:
        """On the device; every stream begins anew."""
        return torch.Generator(self.device).manual_seed(0)


@pytest.mark.parametrize("name", methods_for())
def test_terms_and_gradients_are_those_of_the_cpu(name, tmp_path):
    set_switches(tf32=False, deterministic=False)
    trainer = cifar_trainer("method", name, tmp_path, "float32")
    trainer.method.on_epoch_start(0, trainer.context)
    there = trainer.method
    batch = there.mixed(next(trainer.batches(0)), 0, 0, trainer.context)
    here = copy.deepcopy(there).to("cpu")
    found = {}
    for device, method in (("cuda", there), ("cpu", here)):
        terms = method(moved(batch, device), 0, 0, OnDevice(trainer.context, device))
        terms["loss"].backward()
        norm = torch.stack([p.grad.double().norm() for p in method.parameters() if p.grad is not None]).norm()
        found[device] = {**{key: value.detach().cpu().float() for key, value in terms.items()}, "norm": norm.cpu()}
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", methods_for())
def test_a_run_that_is_killed_ends_as_if_undisturbed(name, tmp_path, monkeypatch):
    words = (f"method={name}", "deterministic=true", "checkpoint.every_steps=1", "device=cuda")
    undisturbed = results(*execute(tiny(tmp_path / "undisturbed", *words)))
    killed, outcome = killed_until_done(tiny(tmp_path / "killed", *words), monkeypatch, steps=2)
    assert killed
    assert_identical(results(*outcome), undisturbed)


@pytest.mark.parametrize("rule", groups()["stage_two"])
def test_every_rule_classifies(rule, tmp_path):
    record, _ = execute(tiny(tmp_path, f"method={method_for(rule)}", f"stage_two={rule}", "device=cuda"))
    assert record.cost["device"] == torch.cuda.get_device_name(0)


@pytest.mark.parametrize("method", ["ce", "bcl", "sbcl_moco"])
def test_images_on_disk(method, tmp_path):
    root = image_trees.tree(tmp_path / "data", "imagenet_lt")
    words = ("train.batch_size=16", "stage_two=cb", "stage_two.train.batch_size=16", f"method={method}", "device=cuda")
    execute(tiny(tmp_path / "runs", *image_trees.overrides(root, "imagenet_lt"), *words))


def test_a_sweep_shares_the_gpu(tmp_path):
    words = ["-m", "method=ce,sbcl", "seed=0,1", "dataset=digits_lt", "device=cuda", f"output_dir={tmp_path}", *TINY]
    done = subprocess.run([sys.executable, "-m", "lt_bench", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.glob("*/predictions.npz")]) == 4


def test_more_processes_than_gpus_are_refused(tmp_path):
    words = [*TINY, "method=ce", "dataset=digits_lt", "device=cuda", f"output_dir={tmp_path}"]
    count = torch.cuda.device_count() + 1
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "-m", "lt_bench", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "start as many processes as there are GPUs" in done.stderr


def test_a_compiled_encoder(tmp_path):
    execute(tiny(tmp_path, "method=ce", "compile=true", "device=cuda"))
