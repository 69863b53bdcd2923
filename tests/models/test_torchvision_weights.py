"""The weights that torchvision fetches: of which networks, which ones, and what is said where they cannot be had."""

import pickle

import pytest
import torch

from lt_bench.config.schema import TORCHVISION
from lt_bench.errors import SettingError
from lt_bench.models import resnet
from lt_bench.models.pretrained import load_pretrained


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


def test_a_copy_of_torchvisions_weights_that_is_damaged(monkeypatch):
    from torchvision.models import ResNet18_Weights

    def damaged(weights, **words):
        raise pickle.UnpicklingError("Re-running torch.load with weights_only set to False will likely succeed")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", damaged)
    with pytest.raises(OSError, match=r"the copy of .*resnet18-\w+\.pth in .*checkpoints is damaged; delete it there"):
        load_pretrained(resnet.resnet18(), "torchvision", "resnet18")


def test_weights_that_cannot_be_fetched(monkeypatch):
    from urllib.error import URLError

    from torchvision.models import ResNet18_Weights

    def offline(weights, **words):
        raise URLError("offline")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(SettingError, match=r"resnet18-\w+\.pth in a file, as that cannot be fetched"):
        load_pretrained(resnet.resnet18(), "torchvision", "resnet18")
