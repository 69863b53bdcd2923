"""An exported model is loaded without lt_bench and computes the same."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.chain import tiny
from safetensors.torch import load_file
from torch import nn

import lt_bench
from lt_bench.data.transform import Transform
from lt_bench.export import programs
from lt_bench.export.__main__ import main, write
from lt_bench.export.weights import weights
from lt_bench.models.heads import NormalizedLinear
from lt_bench.models.resnet import resnet18, resnet50, resnext50_32x4d
from lt_bench.models.resnet_cifar import resnet50_cifar
from lt_bench.models.whole import Whole
from lt_bench.predict.predictor import Predictor
from lt_bench.record.record import read_record
from lt_bench.run.execute import execute
from lt_bench.stage_two.lws import ScaledLinear


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("method=ce", "stage_two=none", "threads=1", "dataset.validation_per_class=4")
    return execute(tiny(tmp_path_factory.mktemp("runs"), *words))[1]


def model(encoder, classifier, classes=7):
    """A predictor of 32 pixels, with statistics of batch norms that are not those of the start."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    half = (0.5, 0.5, 0.5)
    return Predictor(
        encoder=encoder.to(memory_format=torch.channels_last).eval(),
        classifier=classifier.eval(),
        transform=Transform(32, 0.875, half, half),
        class_names=tuple(f"class {label}" for label in range(classes)),
        node={},
    )


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(resnet18, marks=pytest.mark.slow),
        pytest.param(resnet50, marks=pytest.mark.slow),
        pytest.param(resnext50_32x4d, marks=pytest.mark.slow),
    ],
)
def test_weights_load_in_plain_torchvision_bit_for_bit(build, tmp_path):
    torch.manual_seed(0)
    encoder = build()
    predictor = model(encoder, nn.Linear(encoder.feature_dim, 7))
    found, images = weights(predictor), torch.rand(2, 3, 64, 64)
    torch.save((found.state, images, predictor.logits(images)), tmp_path / "state.pt")
    code = "\n".join(
        [
            "import sys, torch",
            *found.code,
            f"state, images, expected = torch.load({str(tmp_path / 'state.pt')!r})",
            "model.load_state_dict(state)",
            "model.eval().to(memory_format=torch.channels_last)",
            "with torch.no_grad(): logits = model(images.to(memory_format=torch.channels_last))",
            "assert 'lt_bench' not in sys.modules",
            "sys.exit(not torch.equal(logits, expected))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scales_and_missing_biases_become_a_linear_layer():
    torch.manual_seed(0)
    linear = ScaledLinear(nn.Linear(512, 7))
    nn.init.uniform_(linear.scales, 0.5, 2)
    features = torch.rand(3, 512)
    for head in (linear, nn.Linear(512, 7, bias=False)):
        state = weights(model(resnet18(), head)).state
        torch.testing.assert_close(features @ state["fc.weight"].T + state["fc.bias"], head(features))


def test_what_torchvision_does_not_have_keeps_its_own_names():
    for encoder, head in ((resnet18(), NormalizedLinear(512, 7)), (resnet50_cifar(), nn.Linear(2048, 7))):
        found = weights(model(encoder, head))
        assert found.code == () and {name.partition(".")[0] for name in found.state} == {"encoder", "classifier"}


@pytest.mark.slow
def test_an_export_has_all_that_another_program_needs(run, tmp_path, capsys):
    assert main([str(run), "--to", str(tmp_path / "model"), "--torchscript"]) == 0
    predictor, images = lt_bench.load(run), torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        for file, load in (
            ("model.pt2", lambda path: torch.export.load(path).module()),
            ("model.torchscript.pt", torch.jit.load),
        ):
            torch.testing.assert_close(load(tmp_path / "model" / file)(images), predictor.logits(images))
    assert load_file(tmp_path / "model" / "model.safetensors").keys() == weights(predictor).state.keys()
    assert (tmp_path / "model" / "labels.txt").read_text().split() == [*"0123456789"]
    labels = json.loads((tmp_path / "model" / "labels.json").read_text())
    assert labels[0]["group"] == "many" and labels[9]["group"] == "few" and labels[0]["training_images"] > 10
    assert json.loads((tmp_path / "model" / "preprocessing.json").read_text())["resize"] == 8
    card = (tmp_path / "model" / "README.md").read_text()
    record = read_record(run / "record.json")
    assert f"| {100 * record.metrics['few']:.1f} |" in card and "thirds" in card and "## Limits" in card
    assert f"softmax(logits / {predictor.temperature:.6g})" in card and "Trained under budget custom" in card
    assert not [path for path in tmp_path.iterdir() if path.name != "model"]


def test_a_folder_with_something_in_it_is_left_alone(run, tmp_path, capsys):
    (tmp_path / "mine").write_text("kept")
    assert main([str(run), "--to", str(tmp_path)]) == 2
    assert "is not empty; name a new one with --to DIR" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_and_a_link_are_no_folder_to_write(run, tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        assert main([str(run), "--to", str(tmp_path / name)]) == 2
        assert "is no folder, or is not empty" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept" and (tmp_path / "link").is_symlink()


@pytest.mark.slow
def test_any_name_of_a_folder_is_written(run, tmp_path):
    (tmp_path / "[a] **").mkdir()
    for name in ("**", "new/down/*", "[a] **", "a/../b"):
        assert main([str(run), "--to", str(tmp_path / name)]) == 0
        assert (tmp_path / name.removeprefix("a/../") / "README.md").exists()
    assert not [path for path in tmp_path.rglob(".*") if path.is_dir()] and not (tmp_path / "a").exists()


def test_words_of_others_are_no_markdown(run, tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.export.programs.write", lambda *_: 0.0)
    predictor = lt_bench.load(run)
    names = (*predictor.class_names[:8], "*bold* <b>|<script>", "`x`\n# line")
    write(replace(predictor, class_names=names), read_record(run / "record.json"), [], tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "\\`x\\` # line" in card and "<b>" not in card and "<script" not in card and "`x`\n" not in card
    assert len((tmp_path / "labels.txt").read_text().splitlines()) == 10


def test_onnx_without_its_packages_says_what_to_install(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    assert main([str(run), "--to", str(tmp_path / "model"), "--onnx"]) == 2
    assert "--onnx needs onnx, onnxruntime, onnxscript; pip install 'lt_bench[export]'" in capsys.readouterr().err


def test_a_program_that_computes_something_else_is_refused(run, tmp_path, monkeypatch):
    predictor = lt_bench.load(run)
    network = Whole(predictor.encoder, predictor.classifier)
    monkeypatch.setattr(programs, "_torchscript", lambda *_: lambda images: network(images) + 0.1)
    with pytest.raises(ValueError, match="computes other logits"):
        programs.write("torchscript", network, 8, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["none", "ldam_drw", "lws", "tau_norm", "ncm", "knn"])
def test_onnx_computes_the_same(rule, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install -e '.[export]'")
    pytest.importorskip("onnxscript", reason="pip install -e '.[export]'")
    folder = execute(tiny(tmp_path / "runs", "method=ce", f"stage_two={rule}", "threads=1"))[1]
    assert main([str(folder), "--to", str(tmp_path / "model"), "--onnx"]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model" / "model.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(5, 3, 8, 8)
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, lt_bench.load(folder).logits(images).numpy(), atol=1e-4, rtol=1e-4)
