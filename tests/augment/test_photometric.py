"""Colour operations on grey levels against the Python Imaging Library: equal level for level."""

import re

import pytest
import torch
from helpers.pil_operations import BLENDS, TABLES, on_pil, sample_images

from lt_bench.augment import photometric

FACTORS = (0.0, 0.1, 0.4, 1.0, 1.3, 1.9)
STRENGTHS = {
    "Posterize": (0, 1, 3, 4, 5, 8),
    "Solarize": (0, 28.4, 128, 256 * 7 / 9, 256),
    "SolarizeAdd": (0, 55, 110),
    **dict.fromkeys(("Brightness", "Contrast", "Color", "Sharpness"), FACTORS),
}
CASES = [(name, strength) for name in (*TABLES, *BLENDS) for strength in STRENGTHS.get(name, (0,))]


def ours(name, images, strength):
    function = getattr(photometric, re.sub("(?<!^)(?=[A-Z])", "_", name).lower())
    levels, strengths = images.float(), torch.full((len(images),), float(strength))
    changed = function(levels, strengths)
    return photometric.look_up(levels, changed) if name in TABLES else changed


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (20, 33), (2, 5)])
@pytest.mark.parametrize(("name", "strength"), CASES)
def test_levels_are_those_of_pil(name, strength, size):
    images = sample_images(30, *size)
    expected = torch.stack([on_pil(image, name, strength) for image in images])
    assert torch.equal(ours(name, images, strength), expected.float())
    assert torch.equal(images, sample_images(30, *size))


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Contrast", "Solarize"])
def test_every_image_has_a_table_and_a_strength_of_its_own(name):
    images, strengths = sample_images(12), torch.linspace(0, 2, 12)
    strengths = strengths * 100 if name == "Solarize" else strengths
    function = getattr(photometric, re.sub("(?<!^)(?=[A-Z])", "_", name).lower())
    found = photometric.look_up(images.float(), function(images.float(), strengths))
    expected = [on_pil(image, name, strength) for image, strength in zip(images, strengths.tolist(), strict=True)]
    assert torch.equal(found, torch.stack(expected).float())


def test_equalize_of_two_levels_and_of_few_pixels():
    # 1024 pixels of which the lightest level takes all but 200: the step is 0 and nothing changes
    images = torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)
    images.view(2, 3, -1)[0, :, :200] = 10
    images.view(2, 3, -1)[1, :, :700] = 10
    found = ours("Equalize", images, 0)
    assert torch.equal(found[0], images[0].float())
    # step 700 // 255 = 2, offset 1: level 10 becomes 1 // 2, level 90 (1 + 700) // 2, clipped
    assert found[1].unique().tolist() == [0, 255]


def test_contrast_keeps_the_mean_grey_level_and_color_keeps_grey_pixels():
    images = sample_images(6)
    grey = images[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(ours("Color", grey, 1.9), grey.float())
    flat = ours("Contrast", images, 0)
    assert torch.equal(flat, flat[:, :1, :1, :1].expand_as(flat))
