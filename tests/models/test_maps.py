"""The maps of every encoder that has some: their mean are its features."""

import pytest
import torch
from torch import nn

from lt_bench.models.maps import has_maps, spatial_maps
from lt_bench.models.pool import InputPool
from lt_bench.models.resnet import resnet10
from lt_bench.models.resnet_cifar import resnet8_cifar, resnet32_cifar_bbn, resnet50_cifar
from lt_bench.models.tiny import TinyEncoder

ENCODERS = [TinyEncoder, resnet8_cifar, resnet32_cifar_bbn, resnet10, resnet50_cifar]


@torch.no_grad()
@pytest.mark.parametrize("network", [*ENCODERS, lambda: InputPool(2, TinyEncoder()), lambda: InputPool(2, resnet10())])
def test_features_are_the_mean_of_the_maps(network):
    encoder, images = network().eval(), torch.randn(2, 3, 96, 96)
    maps = spatial_maps(encoder, images)
    assert has_maps(encoder) and maps.shape[:2] == (2, encoder.feature_dim) and maps.shape[2] > 1
    torch.testing.assert_close(maps.mean(dim=(2, 3)), encoder(images))


def test_what_has_none_is_known():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    plain.feature_dim = 5
    assert not has_maps(plain) and not has_maps(InputPool(2, plain))
