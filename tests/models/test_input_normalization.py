"""Colours normalised inside a network."""

import torch

from lt_bench.contracts import feature_dim
from lt_bench.models.input_normalization import IMAGENET_MEAN, IMAGENET_STD, InputNormalization
from lt_bench.models.tiny import TinyEncoder


def test_the_encoder_sees_normalised_images():
    encoder = TinyEncoder().eval()
    network = InputNormalization(encoder)
    images = torch.rand(4, 3, 8, 8)
    normalised = torch.stack([(images[:, c] - IMAGENET_MEAN[c]) / IMAGENET_STD[c] for c in range(3)], dim=1)
    torch.testing.assert_close(network(images), encoder(normalised))
    assert feature_dim(network) == 64
    assert set(network.state_dict()) == {f"encoder.{name}" for name in encoder.state_dict()}


def test_twice_is_once_with_other_numbers():
    """What GH's authors' code does to SDCLR's images is one normalisation with a mean and deviation of its own."""
    encoder, images = TinyEncoder().eval(), torch.rand(4, 3, 8, 8)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    first = (images - mean[:, None, None]) / std[:, None, None]
    both = (mean + std * torch.tensor(IMAGENET_MEAN)).tolist(), (std * torch.tensor(IMAGENET_STD)).tolist()
    torch.testing.assert_close(InputNormalization(encoder)(first), InputNormalization(encoder, *both)(images))
