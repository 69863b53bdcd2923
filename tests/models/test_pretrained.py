"""Weights from files: what is read, what is refused and how it is said; which convolutions are trained."""

import json
import struct

import pytest
import torch
from torch import nn

from lt_bench.config.schema import TORCHVISION
from lt_bench.errors import SettingError, UsageError, keyed
from lt_bench.models import resnet
from lt_bench.models.pretrained import encoder_state, freeze_convolutions, load_pretrained
from lt_bench.models.tiny import TinyEncoder

KINDS = {torch.float32: "F32", torch.int64: "I64"}


@pytest.fixture
def donor():
    torch.manual_seed(1)
    return TinyEncoder()


def save_safetensors(path, state):
    """The published layout, written by hand."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        data = tensor.contiguous().numpy().tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def assert_loaded(path, donor):
    encoder = TinyEncoder()
    load_pretrained(encoder, str(path), "tiny")
    for key, tensor in donor.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], tensor), key


@pytest.mark.parametrize("form", ["plain", "old", "wrapped", "parallel", "with fc", "method", "safetensors"])
def test_weights_in_every_form(form, donor, tmp_path):
    state = donor.state_dict()
    forms = {
        "plain": state,
        # before PyTorch 0.4.1 batch norms did not count
        "old": {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")},
        "wrapped": {"epoch": 3, "state_dict": state},
        "parallel": {f"module.{key}": tensor for key, tensor in state.items()},
        "with fc": {**state, "fc.weight": torch.zeros(2, 64), "fc.bias": torch.zeros(2)},
        "method": {
            "model": {**{f"encoder.{key}": value for key, value in state.items()}, "head.weight": torch.ones(1)}
        },
    }
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    save_safetensors(path, state) if form == "safetensors" else torch.save(forms[form], path)
    assert_loaded(path, donor)


def test_what_does_not_fit_is_said(donor, tmp_path):
    state = dict(donor.state_dict())
    state["layers.0.weight"] = torch.zeros(16, 3, 7, 7)
    state["other.weight"] = state.pop("layers.3.weight")
    torch.save(state, tmp_path / "weights.pth")
    path = str(tmp_path / "weights.pth")
    with pytest.raises(UsageError) as caught, keyed("backbone"):
        load_pretrained(TinyEncoder(), path, "tiny")
    assert str(caught.value) == (
        "backbone.pretrained is weights that fit tiny (1 missing: layers.3.weight; 1 not in the encoder: other.weight; "
        "1 of another shape: layers.0.weight (16, 3, 7, 7) for (16, 3, 3, 3)), "
        f"not {path!r}; set backbone.pretrained=FILE"
    )


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("content", ["code", "text", "tensor", "cut safetensors"])
def test_what_is_no_file_of_weights_is_refused(content, donor, tmp_path, capsys):
    path = tmp_path / ("weights.safetensors" if "safe" in content else "weights.pth")
    if content == "code":
        torch.save({"state_dict": Code()}, path)
    elif content == "text":
        path.write_text("no weights")
    elif content == "tensor":
        torch.save(torch.zeros(3), path)
    else:
        save_safetensors(path, donor.state_dict())
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SettingError, match=r"pretrained is a file of weights \(.*, not '.*weights\.(pth|safetensors)'"):
        load_pretrained(TinyEncoder(), str(path), "tiny")
    assert "run" not in capsys.readouterr().out


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_pretrained(TinyEncoder(), str(tmp_path / "none.pth"), "tiny")


def test_the_networks_that_torchvision_has_weights_of():
    from torchvision.models import get_model_weights, list_models

    ours = {name for name in dir(resnet) if name.startswith("resne") and callable(getattr(resnet, name))}
    having = {name for name in ours & set(list_models()) if "IMAGENET1K_V1" in get_model_weights(name).__members__}
    assert having == set(TORCHVISION)


def test_torchvisions_weights_are_the_first_published(monkeypatch):
    from torchvision.models import ResNet152_Weights

    with torch.device("meta"):
        whole = {key: torch.empty(value.shape) for key, value in _resnet152().state_dict().items()}
    asked = {}

    def fetched(weights, **words):
        asked.update(words, url=weights.url)
        return {key: torch.zeros(value.shape, device="meta") for key, value in whole.items()}

    monkeypatch.setattr(ResNet152_Weights, "get_state_dict", fetched)
    with torch.device("meta"):
        load_pretrained(resnet.resnet152(), "torchvision", "resnet152")
    assert asked["url"].endswith("resnet152-394f9c45.pth")  # the tag in PaCo's recipe
    assert asked["check_hash"] and asked["weights_only"]


def _resnet152():
    from torchvision.models import resnet152

    return resnet152()


def test_weights_that_cannot_be_fetched(monkeypatch):
    from urllib.error import URLError

    from torchvision.models import ResNet18_Weights

    def offline(weights, **words):
        raise URLError("offline")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(OSError, match=r"resnet18-\w+\.pth cannot be fetched .*set pretrained=FILE to a copy"):
        load_pretrained(resnet.resnet18(), "torchvision", "resnet18")


def test_only_the_named_convolutions_are_trained():
    with torch.device("meta"):
        encoder = resnet.resnet18()
    freeze_convolutions(encoder, ["layer4.1", "conv1"])
    trained = {key for key, parameter in encoder.named_parameters() if parameter.requires_grad}
    convolutions = {f"{key}.weight" for key, part in encoder.named_modules() if isinstance(part, nn.Conv2d)}
    assert trained & convolutions == {"conv1.weight", "layer4.1.conv1.weight", "layer4.1.conv2.weight"}
    assert trained - convolutions == {key for key, _ in encoder.named_parameters()} - convolutions  # batch norms
    freeze_convolutions(encoder, [])
    assert not any(part.weight.requires_grad for part in encoder.modules() if isinstance(part, nn.Conv2d))


def test_a_name_that_no_convolution_is_below():
    with pytest.raises(SettingError, match=r"a list of modules with convolutions \(layers.*, not 'layers\.00'"):
        freeze_convolutions(TinyEncoder(), ["layers.00"])


def test_a_state_without_wrapping_is_itself(donor):
    assert encoder_state(donor.state_dict()).keys() == donor.state_dict().keys()
