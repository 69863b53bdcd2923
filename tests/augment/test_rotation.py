"""Rotation against the Python Imaging Library, and its angles."""

import pytest
import torch
from helpers.pil_operations import on_pil, sample_images
from scipy import stats

from lt_bench.augment.rotation import Rotation, RotationParams
from lt_bench.errors import SettingError


@pytest.mark.parametrize("size", [(32, 32), (20, 33)])
def test_images_are_those_of_pil(size):
    images, angles = sample_images(6, *size), torch.tensor([0.0, 3.25, -14.7, 15.0, 90.0, -180.0])
    expected = [
        on_pil(one, "Rotate", angle, fill=(0, 0, 0)) for one, angle in zip(images, angles.tolist(), strict=True)
    ]
    found = Rotation(180).grouped(images.float() / 255, RotationParams(angles))
    assert torch.equal((found * 255).round(), torch.stack(expected).float())


def test_angles_are_uniform_in_both_directions():
    angles = Rotation(15).draw(4000, torch.Generator().manual_seed(0)).angle
    assert stats.kstest(angles.numpy(), stats.uniform(-15, 30).cdf).pvalue > 1e-3


def test_more_than_half_a_turn_is_refused():
    with pytest.raises(SettingError, match="degrees is from 0 to 180, not 200"):
        Rotation(200)
