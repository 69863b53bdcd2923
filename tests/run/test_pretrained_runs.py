"""Runs from pretrained weights: which run it is, what is refused, what stays as it was."""

import pytest
import torch
from helpers.chain import execute, tiny

from lt_bench.config.compose import compose
from lt_bench.errors import DataError, UsageError
from lt_bench.models import pretrained
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identity_values, run_id
from lt_bench.record.record import read_record
from lt_bench.run import build


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(7)
    torch.save(TinyEncoder().state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def identity(path, *words):
    return run_id(validate(compose([f'backbone.pretrained="{path}"', *words])))


def test_a_file_counts_by_its_content_and_not_by_its_path(weights, tmp_path):
    copy = tmp_path / "elsewhere.pth"
    copy.write_bytes(weights.read_bytes())
    assert identity(weights) == identity(copy) != run_id(validate(compose()))
    first = identity(copy)
    copy.write_bytes(weights.read_bytes() + b"x")
    assert identity(copy) != first
    config = validate(compose([f'backbone.pretrained="{weights}"']))
    assert identity_values(config)["backbone.pretrained"].startswith("sha256:")
    assert identity("torchvision", "backbone=resnet18") != run_id(validate(compose(["backbone=resnet18"])))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backbone.pretrained=none.pth"], "backbone.pretrained=none.pth: no such file"),
        (["backbone.pretrained=torchvision"], "it has weights of resnet18, resnet50, .*, not of tiny"),
        (["backbone.pretrained=3"], "backbone.pretrained= takes a word or null"),
        (["backbone.trainable_convolutions=layers"], "backbone.trainable_convolutions= takes a list"),
    ],
)
def test_what_the_preflight_refuses(words, said):
    with pytest.raises(UsageError, match=said):
        validate(compose(words))


def test_frozen_convolutions_keep_the_pretrained_weights_and_the_record_says_so(weights, tmp_path):
    words = ["method=paco", "method.queue_size=128", f'backbone.pretrained="{weights}"']
    record, folder = execute(tiny(tmp_path / "runs", *words, "backbone.trainable_convolutions=[layers.6]"))
    start = torch.load(weights, weights_only=True)
    model = torch.load(tmp_path / "runs" / record.stage_one_id / "checkpoint.pt", weights_only=True)["model"]
    same = {key for key in start if torch.equal(start[key], model[f"encoder.{key}"])}
    assert {"layers.0.weight", "layers.3.weight"} <= same
    assert not {"layers.6.weight", "layers.1.weight", "layers.1.running_mean"} & same
    assert record.settings["backbone.pretrained"].startswith("sha256:")
    assert record.settings["backbone.trainable_convolutions"] == ["layers.6"]


def test_weights_and_names_that_do_not_fit_are_wrong_usage(weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    del state["layers.0.weight"]
    torch.save(state, weights)
    with pytest.raises(UsageError, match=r"^backbone.pretrained .* fit tiny \(.*: 1 missing: layers.0.weight; .*, not"):
        execute(tiny(tmp_path / "runs", f'backbone.pretrained="{weights}"'))
    with pytest.raises(UsageError, match="^backbone.trainable_convolutions is .*, not 'no'; set backbone.train"):
        execute(tiny(tmp_path / "runs", "backbone.trainable_convolutions=[no]"))


def test_the_prefix_is_in_the_record_and_is_said_once(weights, tmp_path, capsys):
    state = torch.load(weights, weights_only=True)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 1}, weights)
    record, _ = execute(tiny(tmp_path / "runs", "method=ce", "stage_two=cb", f'backbone.pretrained="{weights}"'))
    expected = {"prefix": "state_dict.module.", "tensors": 15, "of": 15}
    below = read_record(tmp_path / "runs" / record.stage_one_id / "record.json")
    assert record.environment["weights"] == below.environment["weights"] == expected
    said = [line for line in capsys.readouterr().err.splitlines() if "backbone.pretrained" in line]
    assert said == [
        f"lt_bench: note: backbone.pretrained={weights}: all 15 tensors of the encoder under the prefix "
        "state_dict.module."
    ]


def test_weights_that_change_before_they_are_read_are_another_run(weights, tmp_path, monkeypatch):
    read = pretrained.load_pretrained

    def replaced_first(*words):
        torch.save(another_state(weights), weights)
        return read(*words)

    monkeypatch.setattr(build, "load_pretrained", replaced_first)
    with pytest.raises(DataError, match="the file of weights changed before it was read; start it again"):
        execute(tiny(tmp_path / "runs", "method=ce", "stage_two=none", f'backbone.pretrained="{weights}"'))
    assert not list((tmp_path / "runs").glob("*/checkpoint.pt"))


def another_state(path):
    return {key: value + 1 for key, value in torch.load(path, weights_only=True).items()}


def test_a_prefix_that_is_typed_is_part_of_the_identity(weights):
    plain, typed, dotted = (identity(weights, *words) for words in (
        (), ("backbone.weights_prefix=encoder",), ("backbone.weights_prefix=encoder.",)
    ))  # fmt: skip
    assert plain != typed == dotted
    assert identity(weights, "backbone.weights_partial=true") != plain
    assert identity(weights, "backbone.weights_partial=false") == plain


@pytest.mark.parametrize("prefix", ["student", "teacher"])
def test_a_run_takes_the_network_whose_prefix_is_typed(prefix, weights, tmp_path, capsys):
    state = torch.load(weights, weights_only=True)
    torch.save({"student": state, "teacher": {key: value + 1 for key, value in state.items()}}, weights)
    words = ("method=ce", "stage_two=none", f'backbone.pretrained="{weights}"', "backbone.trainable_convolutions=[]")
    with pytest.raises(
        UsageError, match=r"weights_prefix is one of .*student\., .*not None; set backbone\.weights_pre"
    ):
        execute(tiny(tmp_path / "runs", *words))
    record, _ = execute(tiny(tmp_path / "runs", *words, f"backbone.weights_prefix={prefix}"))
    model = torch.load(tmp_path / "runs" / record.stage_one_id / "checkpoint.pt", weights_only=True)["model"]
    assert torch.equal(model["encoder.layers.0.weight"], state["layers.0.weight"] + (prefix == "teacher"))
    assert record.settings["backbone.weights_prefix"] == prefix


@pytest.mark.parametrize("word", ["weights_prefix=x", "weights_partial=true"])
@pytest.mark.parametrize("source", [(), ("backbone=resnet18", "backbone.pretrained=torchvision")])
def test_how_a_file_is_read_needs_a_file(word, source):
    with pytest.raises(
        UsageError, match=f"backbone.{word.partition('=')[0]} is for a file of weights, and there is none"
    ):
        validate(compose([*source, f"backbone.{word}"]))
