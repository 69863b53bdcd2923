"""Gaussian blur against torchvision, and its draws."""

import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import functional as oracle

from lt_bench.augment.blur import BlurParams, GaussianBlur
from lt_bench.errors import SettingError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("path", ["grouped", "branch_free"])
@pytest.mark.parametrize("kernel_size", [1, 3, 7, 15])
def test_blur_equals_torchvision(path, kernel_size):
    images = torch.rand(24, 3, 20, 32, generator=generator(0))
    blur = GaussianBlur(kernel_size, sigma=(0.1, 3.0), p=0.7)
    params = blur.draw(24, generator(1))
    expected = torch.stack(
        [
            oracle.gaussian_blur(image, [kernel_size] * 2, [sigma.item()] * 2) if applied else image
            for image, sigma, applied in zip(images, params.sigma, params.applied, strict=True)
        ]
    )
    assert 0 < params.applied.sum() < 24
    torch.testing.assert_close(getattr(blur, path)(images, params), expected, rtol=0, atol=1e-6)


def test_blur_keeps_a_constant_image_and_spreads_a_point():
    point = torch.zeros(1, 3, 9, 9)
    point[:, :, 4, 4] = 1.0
    constant = torch.full((1, 3, 9, 9), 0.3)
    images, params = torch.cat([point, constant]), BlurParams(torch.tensor([1.5, 1.5]), torch.tensor([True, True]))
    found = GaussianBlur(5).grouped(images, params)
    torch.testing.assert_close(found[1:], constant)
    assert 0 < found[0, 0, 4, 4] < 1 and found[0, 0, 4, 6] > 0 and found[0, 0, 4, 7] == 0
    torch.testing.assert_close(found[0].sum((1, 2)), torch.ones(3))


def test_draws():
    drawn = GaussianBlur(3, sigma=(0.1, 2.0), p=0.5).draw(20_000, generator(2))
    assert stats.kstest(drawn.sigma.numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    assert abs(drawn.applied.float().mean() - 0.5) < 0.015
    assert abs(drawn.sigma[drawn.applied].mean() - 1.05) < 0.03


@pytest.mark.parametrize(
    "settings", [{"kernel_size": 4}, {"kernel_size": 3, "sigma": (0.0, 1.0)}, {"kernel_size": 3, "p": 2}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(SettingError) as caught:
        GaussianBlur(**settings)
    assert caught.value.name == list(settings)[-1]
