"""The small encoder."""

import pytest
import torch

from lt_bench.models.tiny import TinyEncoder


@pytest.fixture(autouse=True)
def fixed_start():
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [4, 8, 14, 28, 32, 64])
def test_images_of_any_small_size_give_features_with_gradients(size):
    encoder = TinyEncoder()
    features = encoder(torch.randn(3, 3, size, size))
    assert features.shape == (3, encoder.feature_dim)
    features.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_it_is_tiny():
    assert sum(parameter.numel() for parameter in TinyEncoder().parameters()) == 23_696


def test_every_pixel_matters():
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    TinyEncoder().eval()(images).sum().backward()
    assert (images.grad.abs().sum(dim=1) > 0).all()
