"""Photometric distortion against Python's own colours."""

import colorsys

import pytest
import torch

from lt_bench.augment.distortion import DistortionParams, PhotometricDistortion
from lt_bench.augment.selection import take
from lt_bench.errors import SettingError

IMAGES = torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_saturation_and_hue_are_those_of_hsv_between_brightness_and_contrast():
    numbers = [[0.1, -0.1, 0.0], [1.3, 0.7, 1.0], [1.5, 0.5, 1.2], [0.1, -0.05, 0.0]]
    params = DistortionParams(*torch.tensor(numbers), torch.tensor([True, False, True]))
    found = PhotometricDistortion().grouped(IMAGES, params)
    for number, (added, contrast, saturation, hue, first) in enumerate(zip(*(p.tolist() for p in params), strict=True)):
        for row in range(4):
            pixel = (IMAGES[number, :, row, 0] + added).clamp(0, 1)
            pixel = (pixel * (contrast if first else 1)).clamp(0, 1)
            h, s, v = colorsys.rgb_to_hsv(*pixel.tolist())
            pixel = torch.tensor(colorsys.hsv_to_rgb((h + hue) % 1, min(1, s * saturation), v))
            expected = (pixel * (1 if first else contrast)).clamp(0, 1)
            torch.testing.assert_close(found[number, :, row, 0], expected, rtol=0, atol=1e-5)


def test_each_happens_to_half_of_the_images_and_a_spread_of_0_changes_nothing():
    drawn = PhotometricDistortion().draw(2000, torch.Generator().manual_seed(0))
    for values, usual, spread in zip(drawn, (0, 1, 1, 0), (32 / 255, 0.5, 0.5, 0.1), strict=False):
        changed = values[values != usual]
        assert 0.45 < len(changed) / 2000 < 0.55 and spread > (changed - usual).abs().max() > 0.95 * spread
    still = PhotometricDistortion(0, 0, 0, 0)
    params = still.draw(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(still.grouped(IMAGES, params), IMAGES)
    black = torch.zeros(3, 3, 2, 2)
    assert torch.isfinite(PhotometricDistortion().grouped(black, take(drawn, slice(3)))).all()


@pytest.mark.parametrize("values", [{"brightness": 2.0}, {"hue": 0.6}, {"p": 1.5}])
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(SettingError):
        PhotometricDistortion(**values)
