"""Pooling in front of an encoder."""

import pytest
import torch

from lt_bench.errors import SettingError
from lt_bench.models.pool import InputPool, build_encoder
from lt_bench.models.tiny import TinyEncoder


def test_pooling_averages_blocks_before_the_encoder():
    encoder = TinyEncoder().eval()
    wrapped = build_encoder(encoder, 2)
    images = torch.rand(3, 3, 28, 28)
    blocks = images.reshape(3, 3, 14, 2, 14, 2).mean(dim=(3, 5))
    torch.testing.assert_close(wrapped(images), encoder(blocks))
    assert wrapped.feature_dim == encoder.feature_dim


def test_no_pooling_means_no_wrapper():
    encoder = TinyEncoder()
    assert build_encoder(encoder, 1) is encoder


@pytest.mark.parametrize("k", [1, 0, -2])
def test_a_wrapper_that_would_not_pool_is_refused(k):
    with pytest.raises(SettingError, match=f"k is at least 2, .*, not {k}"):
        InputPool(k, TinyEncoder())
    if k < 1:
        with pytest.raises(SettingError, match=f"input_pool is at least 1, not {k}"):
            build_encoder(TinyEncoder(), k)


def test_images_that_cannot_be_divided_are_refused():
    with pytest.raises(ValueError, match="input_pool=3 does not divide images of 28 x 28"):
        build_encoder(TinyEncoder(), 3)(torch.rand(1, 3, 28, 28))
