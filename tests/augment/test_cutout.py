"""Cutout against a loop over images, and where its holes fall."""

import pytest
import torch
from scipy import stats

from lt_bench.augment.cutout import Cutout, CutoutParams
from lt_bench.errors import SettingError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cut_one(image, row, column, length):
    """The published loop: edges of the square clipped to the image."""
    height, width = image.shape[1:]
    edges = (row - length // 2, column - length // 2)
    (top, left), (bottom, right) = ((max(0, edge) for edge in edges), (max(0, edge + length) for edge in edges))
    image = image.clone()
    image[:, top : min(bottom, height), left : min(right, width)] = 0
    return image


@pytest.mark.parametrize("path", ["grouped", "branch_free"])
@pytest.mark.parametrize(("height", "width", "length"), [(32, 32, 16), (28, 20, 14), (8, 8, 4), (8, 8, 3), (8, 8, 50)])
def test_one_square_per_image_clipped_at_the_border(path, height, width, length):
    images = torch.rand(40, 3, height, width, generator=generator(0))
    cutout = Cutout(length)
    params = cutout.draw(40, generator(1))
    centers = [((params.row * height).int().tolist()), ((params.column * width).int().tolist())]
    expected = [cut_one(image, *center, length) for image, *center in zip(images, *centers, strict=True)]
    assert torch.equal(getattr(cutout, path)(images, params), torch.stack(expected))


def test_corners_and_middle():
    images = torch.ones(3, 3, 32, 32)
    almost = torch.tensor(1.0).nextafter(torch.tensor(0.0))
    centers = torch.stack([torch.tensor(0.0), torch.tensor(0.5), almost])
    found = Cutout(16).grouped(images, CutoutParams(centers, centers))
    # a quarter of the square, with the further pixel up and left: centre 0 leaves 8 lines, centre 31 leaves 9
    assert (1 - found[:, 0]).sum((1, 2)).tolist() == [8 * 8, 16 * 16, 9 * 9]
    assert not found[0, :, :8, :8].any() and not found[1, :, 8:24, 8:24].any() and not found[2, :, 23:, 23:].any()


def test_centers_are_uniform_over_all_pixels_and_independent():
    size, count = 8, 32_000
    params = Cutout(4).draw(count, generator(2))
    pixel = (params.row * size).long() * size + (params.column * size).long()
    assert stats.chisquare(pixel.bincount(minlength=size * size).numpy()).pvalue > 1e-3


def test_a_square_without_a_pixel_is_refused():
    with pytest.raises(SettingError, match="length is at least one pixel, not 0"):
        Cutout(0)
