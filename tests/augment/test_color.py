"""Colour operations against torchvision: every order of the jitter, the hue alone, grayscale, and the draws."""

from itertools import permutations

import pytest
import torch
from scipy import stats
from torchvision import transforms
from torchvision.transforms.v2 import functional as oracle

from lt_bench.augment.color import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    ColorJitter,
    Grayscale,
    JitterParams,
    rotate_hue,
)

PATHS = ["grouped", "branch_free"]
ORDERS = list(permutations(range(4)))
DRAWS = 20_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=generator(seed))


def torchvision_jitter(image, params, row):
    adjustments = {
        BRIGHTNESS: (oracle.adjust_brightness, params.brightness),
        CONTRAST: (oracle.adjust_contrast, params.contrast),
        SATURATION: (oracle.adjust_saturation, params.saturation),
        HUE: (oracle.adjust_hue, params.hue),
    }
    for number in params.order[row].tolist():
        adjust, factors = adjustments[number]
        image = adjust(image, factors[row].item())
    return image


@pytest.mark.parametrize("path", PATHS)
def test_jitter_equals_torchvision_in_all_orders(path):
    images, jitter = random_images(96), ColorJitter(0.4, 0.4, 0.4, 0.1)
    params = jitter.draw(96, generator(1))._replace(order=torch.tensor(ORDERS * 4))
    expected = torch.stack([torchvision_jitter(image, params, row) for row, image in enumerate(images)])
    torch.testing.assert_close(getattr(jitter, path)(images, params), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "strengths", [(0.8, 0, 0, 0), (0, 0.8, 0, 0), (0, 0, 0.8, 0), (0, 0, 0, 0.5), (0.4, 0.4, 0.4, 0)]
)
def test_single_adjustments_equal_torchvision(path, strengths):
    images, jitter = random_images(24), ColorJitter(*strengths)
    params = jitter.draw(24, generator(2))
    expected = torch.stack([torchvision_jitter(image, params, row) for row, image in enumerate(images)])
    torch.testing.assert_close(getattr(jitter, path)(images, params), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("path", PATHS)
def test_jitter_leaves_other_images_alone(path):
    images, jitter = random_images(64), ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.5)
    params = jitter.draw(64, generator(3))
    found, applied = getattr(jitter, path)(images, params), params.applied
    assert torch.equal(found[~applied], images[~applied])
    assert (found[applied] - images[applied]).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal(images, random_images(64))


EDGE_COLORS = {
    "black": (0, 0, 0),
    "white": (1, 1, 1),
    "grey": (0.3, 0.3, 0.3),
    "almost grey": (0.5, 0.5, 0.5 + 2**-24),
    "red": (1, 0, 0),
    "yellow": (1, 1, 0),
    "green": (0, 1, 0),
    "cyan": (0, 1, 1),
    "blue": (0, 0, 1),
    "magenta": (1, 0, 1),
    "just below red": (1, 0, 1e-7),
    "just above red": (1, 1e-7, 0),
}


@pytest.mark.parametrize("name", EDGE_COLORS)
@pytest.mark.parametrize("turn", [-0.5, -1 / 6, -0.1, 0.0, 1e-8, 0.1, 1 / 3, 0.5])
def test_hue_of_edge_colors(name, turn):
    image = torch.tensor(EDGE_COLORS[name], dtype=torch.float32).reshape(1, 3, 1, 1)
    expected = oracle.adjust_hue(image, turn)
    torch.testing.assert_close(rotate_hue(image, torch.tensor([turn])), expected, rtol=0, atol=2e-6)


def test_hue_equals_torchvision():
    images = random_images(64)
    images[:16] = (images[:16] * 4).round() / 4  # many ties between channels
    turn = torch.rand(64, generator=generator(1)) - 0.5
    expected = torch.stack([oracle.adjust_hue(image, angle.item()) for image, angle in zip(images, turn, strict=True)])
    torch.testing.assert_close(rotate_hue(images, turn), expected, rtol=0, atol=2e-6)


def test_hue_keeps_lightest_and_darkest_channel_and_returns_after_a_full_circle():
    images = random_images(16)
    turned = rotate_hue(images, torch.linspace(-0.5, 0.5, 16))
    torch.testing.assert_close(turned.amax(1), images.amax(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(turned.amin(1), images.amin(1), rtol=0, atol=1e-6)
    third = torch.full((16,), 1 / 3)
    torch.testing.assert_close(rotate_hue(images, third), images.roll(1, dims=1), rtol=0, atol=2e-6)
    torch.testing.assert_close(rotate_hue(images, torch.ones(16)), images, rtol=0, atol=3e-6)


@pytest.mark.parametrize("path", PATHS)
def test_grayscale_equals_torchvision(path):
    images, gray = random_images(40), Grayscale(0.5)
    params = gray.draw(40, generator(4))
    found, applied = getattr(gray, path)(images, params), params.applied
    expected = oracle.rgb_to_grayscale(images[applied], num_output_channels=3)
    torch.testing.assert_close(found[applied], expected, rtol=0, atol=1e-6)
    assert torch.equal(found[~applied], images[~applied])


@pytest.fixture(scope="module")
def both_laws():
    """Jitter parameters, ours and torchvision's: order (DRAWS, 4) and factors (DRAWS, 4)."""
    drawn = ColorJitter(0.4, 0.3, 1.2, 0.1).draw(DRAWS, generator(0))
    factors = torch.stack([drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue], 1)
    bounds = ((0.6, 1.4), (0.7, 1.3), (0.0, 2.2), (-0.1, 0.1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = [transforms.ColorJitter.get_params(*bounds) for _ in range(DRAWS)]
    orders = torch.stack([order for order, *_ in theirs])
    return (drawn.order, factors), (orders, torch.tensor([values for _, *values in theirs]))


@pytest.mark.parametrize("number", [BRIGHTNESS, CONTRAST, SATURATION, HUE])
def test_factors_follow_torchvision(both_laws, number):
    ours, theirs = (factors[:, number] for _, factors in both_laws)
    assert stats.ks_2samp(ours.numpy(), theirs.numpy()).pvalue > 1e-3
    spread = theirs.std()
    assert abs(ours.mean() - theirs.mean()) < 0.05 * spread
    torch.testing.assert_close(ours.std(), spread, rtol=0.01, atol=0)


def test_all_orders_are_equally_likely(both_laws):
    powers = torch.tensor([64, 16, 4, 1])
    for order, _ in both_laws:
        counts = (order * powers).sum(1).unique(return_counts=True)[1]
        assert len(counts) == 24
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_rates():
    assert abs(ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8).draw(DRAWS, generator(1)).applied.float().mean() - 0.8) < 0.012
    assert abs(Grayscale(0.2).draw(DRAWS, generator(1)).applied.float().mean() - 0.2) < 0.012


def test_strong_jitter_never_has_negative_factors():
    drawn = ColorJitter(2.0, 2.0, 2.0, 0.5).draw(DRAWS, generator(1))
    assert min(drawn.brightness.min(), drawn.contrast.min(), drawn.saturation.min()) >= 0


def test_no_strength_changes_nothing():
    images, jitter = random_images(8), ColorJitter(0, 0, 0, 0)
    params: JitterParams = jitter.draw(8, generator(0))
    torch.testing.assert_close(jitter.grouped(images, params), images, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColorJitter(-0.1, 0, 0, 0), "brightness"),
        (lambda: ColorJitter(0, 0, 0, 0.6), "hue"),
        (lambda: ColorJitter(0, 0, 0, 0, p=2), "probability"),
        (lambda: Grayscale(-1), "probability"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
