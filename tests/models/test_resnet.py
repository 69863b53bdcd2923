"""Encoders for large images: sizes and outputs stored in bcl_paco_backbones, torchvision's weights."""

import numpy as np
import pytest
import torch
from helpers.fingerprints import BACKBONES, SIZES, assert_fingerprint, fill_hashed, hashed, image_batch, sizes
from helpers.golden_vectors import FOLDER
from torch import nn
from torchvision import models

from lt_bench.contracts import feature_dim
from lt_bench.models import resnet

NAMES = ["resnet50", "resnet101", "resnet152", "resnet200", "resnext50_32x4d", "resnext101_32x4d"]


def test_the_numbers_are_the_stored_ones():
    np.testing.assert_allclose((1 + hashed(0, (8,))) / 2, BACKBONES["hash_check"])
    np.testing.assert_allclose(hashed(3000, (4,)), BACKBONES["sym_check_off3000"])


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_the_published_ones(name):
    with torch.device("meta"):
        encoder = getattr(resnet, name)()
        classifier = nn.Linear(feature_dim(encoder), 1000)
    assert sizes(nn.Sequential(encoder, classifier)) == SIZES[f"plain_{name}"]


@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_outputs_are_those_of_the_published_encoders(name):
    stored = f"{name.removesuffix('_32x4d')}_encoder"
    with torch.device("meta"):
        encoder = getattr(resnet, name)()
    assert sizes(encoder) == SIZES[stored]
    encoder = fill_hashed(encoder.to_empty(device="cpu")).eval()
    assert_fingerprint(stored, encoder(image_batch(1, 64)))


def test_sizes_of_networks_of_basic_blocks():
    counts = dict(np.load(FOLDER / "cb_param_counts.npz"))
    with torch.device("meta"):
        assert sizes(resnet.resnet10())[0] == counts["cb_resnet10_backbone"]
        whole = models.resnet18()
        assert sizes(resnet.resnet18())[0] == sizes(whole)[0] - sizes(whole.fc)[0]
        assert feature_dim(resnet.resnet10()) == feature_dim(resnet.resnet18()) == 512


@pytest.mark.parametrize("name", ["resnet18", *(name for name in NAMES if hasattr(models, name))])
def test_torchvisions_weights_load_but_for_the_linear_layer(name):
    with torch.device("meta"):
        encoder, whole = getattr(resnet, name)(), getattr(models, name)()
    stored = {key: tensor.shape for key, tensor in whole.state_dict().items() if not key.startswith("fc.")}
    assert {key: tensor.shape for key, tensor in encoder.state_dict().items()} == stored


def test_initial_weights_have_kaimings_variance():
    torch.manual_seed(0)
    encoder = resnet.resnext50_32x4d()
    assert encoder.layer4[0].conv1.weight.std().item() == pytest.approx(np.sqrt(2 / 1024), rel=0.01)
    assert encoder.layer4[0].conv2.weight.std().item() == pytest.approx(np.sqrt(2 / (1024 * 9)), rel=0.01)
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


@pytest.mark.parametrize("size", [8, 28, 32])
def test_small_images_give_features_with_gradients(size):
    encoder = resnet.resnet50()
    features = encoder(torch.randn(2, 3, size, size))
    assert features.shape == (2, 2048)
    features.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
