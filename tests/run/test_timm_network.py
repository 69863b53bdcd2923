"""Runs with networks of timm: what is recorded, predicted, exported, and resumed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.chain import assert_identical, killed_until_done, results, tiny
from helpers.engine_parts import Constant, stage
from helpers.two_processes import assert_one_training
from safetensors.torch import load_file, save_file

import lt_bench
from lt_bench.augment.views import build_view
from lt_bench.config.schema import node
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.data.load import load_data
from lt_bench.data.seen import as_seen
from lt_bench.engine.context import EngineContext
from lt_bench.engine.loop import Trainer
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.export.__main__ import main as export
from lt_bench.models.timm_encoder import TimmEncoder
from lt_bench.record.identity import run_id
from lt_bench.run.build import build
from lt_bench.run.execute import execute

timm = pytest.importorskip("timm", reason="pip install -e '.[timm]'")

VIT = ("backbone=timm", "backbone.model=test_vit", "backbone.input_size=16", "backbone.patch_size=8")
WORDS = ("method=ce", "stage_two=none", "threads=1", *VIT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small ViT that starts from a file, and its config."""
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    file = folder / "weights.safetensors"
    save_file(timm.create_model("test_vit", img_size=16, patch_size=8).state_dict(), file)
    config = tiny(folder / "runs", *WORDS, f"backbone.pretrained={file}")
    return config, execute(config)


def test_the_record_names_the_model_the_weights_and_how_images_look(run):
    config, (record, _) = run
    assert record.backbone == "test_vit.r160_in1k" and record.settings["backbone.model"] == record.backbone
    assert record.settings["backbone.pretrained"].startswith("sha256:")
    assert record.environment["weights"]["tensors"] == record.environment["weights"]["of"] > 70
    wanted = record.environment["network_input"]
    assert wanted["size"] == 16 and wanted["mean"] == [0.5] * 3 and wanted["interpolation"] == "bicubic"
    assert record.environment["timm"] == timm.__version__
    other = tiny(Path(config.output_dir), *WORDS, "backbone.pretrained=null")
    assert run_id(other) != record.run_id


def test_predictions_of_the_test_images_are_those_of_the_run(run):
    config, (_, folder) = run
    data, model = load_data(config, torch.device("cpu")), lt_bench.load(folder)
    images = model.transform.normalised(data.test.images.permute(0, 2, 3, 1))
    found = torch.cat([model.logits(part) for part in images.split(model.batch_size)])
    np.testing.assert_array_equal(found.numpy(), load_predictions(folder / "predictions.npz").logits)
    assert isinstance(model.encoder, TimmEncoder) and model.transform.mean == (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "test_efficientnet"])
def test_an_interrupted_run_ends_bit_for_bit_as_if_it_had_not_been(model, tmp_path, monkeypatch):
    words = ("method=ce", "stage_two=cb", "threads=1", "backbone=timm", f"backbone.model={model}")
    words = (*words, "backbone.pretrained=null", "backbone.input_size=32", "checkpoint.every_steps=1")
    whole = execute(tiny(tmp_path / "whole", *words))
    killed, parts = killed_until_done(tiny(tmp_path / "parts", *words), monkeypatch)
    assert killed
    assert_identical(results(*whole), results(*parts))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["test_vit", "resnet10t", "test_convnext"])
def test_an_export_is_loaded_by_timm_alone_bit_for_bit(model, tmp_path):
    words = ("method=ce", "stage_two=none", "threads=1", "backbone=timm", f"backbone.model={model}")
    _, folder = execute(tiny(tmp_path / "runs", *words, "backbone.pretrained=null", "backbone.input_size=32"))
    assert export([str(folder), "--to", str(tmp_path / "model")]) == 0
    predictor, images = lt_bench.load(folder), torch.rand(4, 3, 8, 8)
    torch.save((images, predictor.logits(images)), tmp_path / "images.pt")
    card = (tmp_path / "model" / "README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0]
    assert "interpolate(images, (32, 32), mode='bicubic')" in code
    start = (
        f"import sys, torch; images, expected = torch.load({str(tmp_path / 'images.pt')!r}); torch.set_num_threads(1)"
    )
    moved = "model.to(memory_format=torch.channels_last); images = images.to(memory_format=torch.channels_last)"
    head, last = code.rstrip().rsplit("\n", 1)
    end = "sys.exit('lt_bench' in sys.modules or not torch.equal(logits, expected))"
    text = "\n".join([start, head, moved, f"with torch.no_grad(): {last}", end])
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path / "model", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not any(key.startswith("encoder") for key in load_file(tmp_path / "model" / "model.safetensors"))
    assert json.loads((tmp_path / "model" / "preprocessing.json").read_text())["interpolation"] == "bicubic"


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["imagenet_lt", "image_folder"])
def test_images_in_files_are_cut_as_the_weights_want_them(dataset, tmp_path):
    root = image_trees.tree(tmp_path / "images", dataset)
    words = (*WORDS, "backbone.pretrained=null", f"dataset={dataset}", f"dataset.root={root}", "dataset.workers=0")
    lists = [f"dataset.list_dir={root / 'lists'}", "dataset.num_classes=8"] if dataset == "imagenet_lt" else []
    config = tiny(tmp_path / "runs", *words, *lists, *image_trees.UNCOUNTED)
    data, seen = load_data(config, torch.device("cpu")), as_seen(config, from_files=True)
    assert (seen.image_size, seen.interpolation, seen.mean) == (16, "bicubic", [0.5] * 3)
    assert seen.crop_share == 1.0  # 16 pixels of 16.8, whole ones
    (views,) = (batch.views for batch in data.train.batches(*_first_batch(data)))
    assert views[0].shape[-2:] == (16, 16)
    _, folder = execute(config)
    model = lt_bench.load(folder)
    paths = [Path(root) / name for name in data.test.names]
    found = model.logits(torch.stack([model.transform(path) for path in paths]))
    np.testing.assert_array_equal(found.numpy(), load_predictions(folder / "predictions.npz").logits)


def _first_batch(data):
    from lt_bench.data.batches.source import RankShare

    order = torch.arange(len(data.train.labels))
    every = slice(0, 4)
    return order, [RankShare(0, every, every)], ["crop_flip"], lambda step: torch.Generator().manual_seed(0)


class Steps:
    """Some steps of CE on a network of timm's; then its state."""

    def __init__(self, model):
        self.model = model

    def __call__(self, processes, folder):
        config = tiny(folder, "method=ce", "train.batch_size=12", "budget.max_steps_per_epoch=2")
        config.train.epochs = 2
        labels = torch.arange(48) % 4
        images = torch.randint(0, 256, (48, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
        torch.manual_seed(0)
        encoder = _Double(self.model, input_size=64)
        method = build(node(config, "method"), "method", encoder, TrainInfo(labels, 4, 2)).double()
        own = folder / f"rank{processes.rank}"
        own.mkdir()
        context = EngineContext(processes, 3, source)
        Trainer(method, source, config.train, Constant(0.01), context, stage(own)._replace(budget=config.budget)).fit()
        return method.state_dict()


class _Double(TimmEncoder):
    def forward(self, images):
        return super().forward(images.double())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["test_vit", "test_efficientnet"])  # the second has batch norms with activations
def test_two_processes_train_as_one(model, tmp_path):
    assert_one_training(Steps(model), tmp_path, 1e-8)


@pytest.mark.slow
def test_a_compiled_network_computes_the_same(tmp_path):
    words = (*WORDS, "backbone.pretrained=null")
    plain, compiled = (execute(tiny(tmp_path / one, *words, f"compile={one}")) for one in ("false", "true"))
    assert plain[0].run_id == compiled[0].run_id
    one, other = (load_predictions(folder / "predictions.npz").logits for _, folder in (plain, compiled))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
