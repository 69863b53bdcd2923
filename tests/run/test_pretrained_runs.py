"""Runs from pretrained weights: which run it is, what is refused, what stays as it was."""

import pytest
import torch
from helpers.chain import execute, tiny

from lt_bench.config.compose import compose
from lt_bench.errors import UsageError
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identity_values, run_id


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
    with pytest.raises(UsageError, match=r"^backbone.pretrained .* fit tiny \(1 missing: layers.0.weight\), not"):
        execute(tiny(tmp_path / "runs", f'backbone.pretrained="{weights}"'))
    with pytest.raises(UsageError, match="^backbone.trainable_convolutions is .*, not 'no'; set backbone.train"):
        execute(tiny(tmp_path / "runs", "backbone.trainable_convolutions=[no]"))
