"""Rotation, shear and translation against the Python Imaging Library, with its three resamplings."""

import pytest
import torch
from helpers import pil_operations
from helpers.pil_operations import MOVES, on_pil, sample_images

from lt_bench.augment.affine import BICUBIC, BILINEAR, NEAREST, affine_maps, warp

SIZES = [(32, 32), (8, 8), (20, 33)]
STRENGTHS = {
    "Rotate": (3.0, 6.7, 28.9, 30.0),
    "ShearX": (0.05, 0.17, 0.3),
    "ShearY": (0.05, 0.17, 0.3),
    "TranslateX": (0.1, 0.2345, 0.45, 150 / 331),
    "TranslateY": (0.1, 0.2345, 0.45, 150 / 331),
}
CASES = [(name, sign * strength) for name in MOVES for strength in STRENGTHS[name] for sign in (-1, 1)]
FILL = (124, 116, 104)


def ours(images, name, strengths, resampling):
    degrees, *others = (strengths * (name == move) for move in MOVES)
    maps = affine_maps(degrees, tuple(others[:2]), tuple(others[2:]), tuple(images.shape[2:]))
    return warp(images.float(), maps, resampling, torch.tensor(FILL).float())


def both(images, name, strength, resampling):
    found = ours(images, name, torch.full((len(images),), strength, dtype=torch.float64), resampling)
    theirs = {NEAREST: pil_operations.NEAREST, BILINEAR: pil_operations.BILINEAR, BICUBIC: pil_operations.BICUBIC}
    return found, torch.stack([on_pil(image, name, strength, theirs[resampling], FILL) for image in images])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "strength"), CASES)
def test_nearest_pixels_are_those_of_pil(name, strength, size):
    found, expected = both(sample_images(8, *size), name, strength, NEAREST)
    assert torch.equal(found, expected.float())


@pytest.mark.parametrize("resampling", [BILINEAR, BICUBIC])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "strength"), CASES)
def test_mixed_pixels_are_those_of_pil_but_for_cut_off_ties(name, strength, size, resampling):
    found, expected = both(sample_images(8, *size), name, strength, resampling)
    distance = (found - expected).abs()
    assert distance.max() <= 1
    assert (distance > 0).float().mean() < (0.08 if resampling == BILINEAR else 0.01)


@pytest.mark.parametrize("resampling", [NEAREST, BILINEAR, BICUBIC])
@pytest.mark.parametrize("name", MOVES)
def test_strength_zero_changes_nothing(name, resampling):
    images = sample_images(6, 20, 33)
    assert torch.equal(ours(images, name, torch.zeros(6, dtype=torch.float64), resampling), images.float())


@pytest.mark.parametrize("resampling", [NEAREST, BILINEAR, BICUBIC])
def test_every_image_has_a_strength_of_its_own(resampling):
    images, strengths = sample_images(5), torch.linspace(-30, 30, 5, dtype=torch.float64)
    found = ours(images, "Rotate", strengths, resampling)
    alone = [ours(images[row : row + 1], "Rotate", strengths[row : row + 1], resampling) for row in range(5)]
    assert torch.equal(found, torch.cat(alone))


def test_uncovered_pixels_have_the_fill_color_and_the_edge_is_not_mixed_with_it():
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    quarter = torch.full((1,), 0.25, dtype=torch.float64)
    for resampling in (NEAREST, BILINEAR, BICUBIC):
        found = ours(white, "TranslateX", quarter, resampling)[0]
        assert (found[:, :, :6] == 255).all()
        assert torch.equal(found[:, :, 6:], torch.tensor(FILL).float()[:, None, None].expand(-1, 8, 2))
