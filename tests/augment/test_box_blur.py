"""The blur of Pillow: against Pillow itself, and against its averages done one after the other."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import stats
from torch.nn import functional as F

from lt_bench.augment.blur import BlurParams
from lt_bench.augment.box_blur import BoxBlur
from lt_bench.errors import SettingError

SIGMAS = (0.1, 0.25, 0.6, 1.0, 1.37, 1.45, 2.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, height, width):
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator(0))


def pillow(image, sigma):
    filtered = Image.fromarray(image.permute(1, 2, 0).numpy()).filter(ImageFilter.GaussianBlur(sigma))
    return torch.from_numpy(np.array(filtered)).permute(2, 0, 1).double()


def one_after_the_other(image, sigma, finish):
    """Three averages along rows, three along columns, in float64, each followed by ``finish``."""
    whole = math.floor((math.sqrt(4 * sigma**2 + 1) - 1) / 2)
    fraction = (2 * whole + 1) * (whole * (whole + 1) - sigma**2) / (2 * sigma**2 - 6 * (whole + 1) ** 2)
    weights = torch.tensor([fraction, *[1.0] * (2 * whole + 1), fraction], dtype=torch.float64) / (
        2 * (whole + fraction) + 1
    )
    image = image.double()
    for _ in range(2):
        for _ in range(3):
            padded = F.pad(image, (whole + 1, whole + 1), mode="replicate")
            image = finish(padded.unfold(2, 2 * whole + 3, 1) @ weights)
        image = image.transpose(1, 2)
    return image


@pytest.mark.parametrize("path", ["grouped", "branch_free"])
@pytest.mark.parametrize("size", [32, 28, 8])
def test_pictures_are_blurred_as_by_pillow(path, size):
    sigmas = torch.linspace(0.1, 2.0, 40)
    coarse = torch.rand(40, 3, 4, 4, generator=generator(1))
    images = F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).mul(255).round().to(torch.uint8)
    params = BlurParams(sigmas, torch.ones(40, dtype=torch.bool))
    found = getattr(BoxBlur((0.1, 2.0)), path)(images / 255, params).double() * 255
    expected = torch.stack([pillow(image, sigma.item()) for image, sigma in zip(images, sigmas, strict=True)])
    difference = (found - expected).abs()
    assert difference.max() <= 3  # Pillow rounds to whole grey levels six times
    assert difference.mean() < 0.5
    assert (expected - images).abs().mean() > 2


@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 28), (8, 8), (5, 9)])
def test_noise_is_blurred_as_by_pillow_but_for_the_rounding(height, width):
    images = noise(len(SIGMAS), height, width)
    params = BlurParams(torch.tensor(SIGMAS), torch.ones(len(SIGMAS), dtype=torch.bool))
    found = BoxBlur((0.1, 2.0)).grouped(images / 255, params).double() * 255
    for image, sigma, ours in zip(images, SIGMAS, found, strict=True):
        rounded = one_after_the_other(image, sigma, lambda values: (values - 1e-6).round())
        difference = (rounded - pillow(image, sigma)).abs()  # where a value lies in the middle of two levels
        assert difference.max() <= 1
        assert difference.mean() < (0.15 if sigma in (0.6, 2.0) else 0.02)
        exact = one_after_the_other(image, sigma, lambda values: values)
        torch.testing.assert_close(ours, exact, rtol=0, atol=1e-3)  # of 255


def test_only_the_chosen_images_are_blurred():
    images, blur = noise(200, 8, 8) / 255, BoxBlur((0.5, 2.0), p=0.5)
    params = blur.draw(200, generator(3))
    changed = (blur.grouped(images, params) != images).flatten(1).any(1)
    assert torch.equal(changed, params.applied)
    torch.testing.assert_close(blur.branch_free(images, params), blur.grouped(images, params), rtol=0, atol=1e-6)


def test_variance_of_a_point_is_the_square_of_sigma():
    sigmas = torch.linspace(0.1, 3.0, 20)
    images = torch.zeros(20, 3, 41, 41)
    images[:, :, 20, 20] = 1.0
    found = BoxBlur((0.1, 3.0)).grouped(images, BlurParams(sigmas, torch.ones(20, dtype=torch.bool)))
    torch.testing.assert_close(found.sum((2, 3)), torch.ones(20, 3))
    variance = (found[:, 0].sum(1) * (torch.arange(41) - 20) ** 2).sum(1)
    torch.testing.assert_close(variance, sigmas**2, rtol=1e-4, atol=1e-5)


def test_draws():
    drawn = BoxBlur((0.1, 2.0), p=0.2).draw(20_000, generator(2))
    assert stats.kstest(drawn.sigma.numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    assert abs(drawn.applied.float().mean() - 0.2) < 0.015


@pytest.mark.parametrize("settings", [{"sigma": (0.0, 1.0)}, {"sigma": (2.0, 1.0)}, {"p": -0.1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(SettingError) as caught:
        BoxBlur(**settings)
    assert caught.value.name == list(settings)[-1]
