"""RandAugment: images against the Python Imaging Library operation by operation, chains of them, and the law."""

import pytest
import torch
from helpers.branch_free import assert_kernels_are_as_many_for_every_batch, assert_one_graph
from helpers.pil_operations import BICUBIC, BILINEAR, MOVES, NAMES, on_pil, sample_images
from scipy import stats

from lt_bench.augment.operations import Operation
from lt_bench.augment.pipeline import slice_params
from lt_bench.augment.randaugment import RandAugment, RandAugmentParams
from lt_bench.errors import SettingError

PATHS = ["grouped", "branch_free"]
FILL = (124, 116, 104)
DRAWS = 50_000
MAGNITUDES = (0.0, 1.3, 2.6, 4.99, 7.4, 8.125, 9.6, 10.0)

SNAKE = {name.replace("_", "").lower(): number for name, number in Operation.__members__.items()}
NUMBERS = {name: int(SNAKE[name.lower()]) for name in NAMES}
NAME_OF = {number: name for name, number in NUMBERS.items()}

STRENGTHS = {
    "Rotate": lambda m: 3 * m,
    "Posterize": lambda m: int(0.4 * m),
    "Solarize": lambda m: int(25.6 * m),
    "SolarizeAdd": lambda m: int(11 * m),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), lambda m: 0.1 + 0.18 * m),
    **dict.fromkeys(("ShearX", "ShearY"), lambda m: 0.03 * m),
    **dict.fromkeys(("TranslateX", "TranslateY"), lambda m: 0.045 * m),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def expected_images(images, params):
    out = []
    for image, *rows in zip(images, *params, strict=True):
        for operation, applied, magnitude, negative, bicubic in zip(*(row.tolist() for row in rows), strict=True):
            name = NAME_OF[operation]
            strength = STRENGTHS.get(name, lambda _: 0)(magnitude)
            if name in MOVES and negative:
                strength = -strength
            if applied:
                image = on_pil(image, name, strength, BICUBIC if bicubic else BILINEAR, FILL)
        out.append(image)
    return torch.stack(out).float()


def every_magnitude(name):
    """All magnitudes, signs and resamplings of one operation; one operation per image."""
    rows = torch.cartesian_prod(torch.tensor(MAGNITUDES), torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
    magnitude, negative, bicubic = rows[:, :, None].unbind(1)
    operation = torch.full_like(magnitude, NUMBERS[name]).long()
    return RandAugmentParams(operation, torch.ones_like(magnitude).bool(), magnitude, negative.bool(), bicubic.bool())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [32, 8])
@pytest.mark.parametrize("name", NAMES)
def test_single_operations_are_those_of_pil(name, size, path):
    params = every_magnitude(name)
    images = sample_images(len(params.operation), size, size)
    found = getattr(RandAugment(1, 10, 0.5), path)(images / 255, params).mul(255)
    distance = (found - expected_images(images, params)).abs()
    if name in MOVES:
        assert distance.round().max() <= 1
        assert (distance > 0.5).float().mean() < 0.05
    else:
        assert distance.max() < 1e-4


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [32, 8])
def test_chains_are_those_of_pil(size, path):
    images, rand = sample_images(300, size, size), RandAugment(3, 8, 2)
    params = rand.draw(300, generator(5))
    differs = (getattr(rand, path)(images / 255, params).mul(255) - expected_images(images, params)).abs() > 0.5
    moved = ((params.operation >= NUMBERS["Rotate"]) & params.applied).any(1)
    assert 50 < moved.sum() < 250
    assert not differs[~moved].any()
    assert differs[moved].float().mean() < 0.05  # a level lost when mixing may be stretched by what follows


def test_operations_are_the_fifteen_once_each():
    assert sorted(NUMBERS.values()) == list(range(1, 16))


@pytest.fixture(scope="module")
def drawn():
    return RandAugment(2, 10, 0.5).draw(DRAWS, generator(0))


def test_operations_are_uniform_and_drawn_with_replacement(drawn):
    pairs = (drawn.operation[:, 0] - 1) * 15 + drawn.operation[:, 1] - 1
    assert stats.chisquare(pairs.bincount(minlength=225).numpy()).pvalue > 1e-3


def test_application_sign_and_resampling_are_even_and_independent(drawn):
    bits = torch.cat([drawn.applied, drawn.negative, drawn.bicubic], 1)
    patterns = (bits * 2 ** torch.arange(6)).sum(1)
    assert stats.chisquare(patterns.bincount(minlength=64).numpy()).pvalue > 1e-3


def test_magnitudes_at_ten_are_ten_for_half_of_the_draws_else_half_normal(drawn):
    magnitude = drawn.magnitude.flatten().double()
    below = magnitude[magnitude < 10]
    assert magnitude.max() == 10 and magnitude.min() >= 0
    assert abs(len(below) / len(magnitude) - 0.5) < 4 * 0.5 / len(magnitude) ** 0.5
    assert stats.kstest(((10 - below) / 0.5).numpy(), stats.halfnorm.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("m", "mstd", "low", "high"), [(12, 0.5, 10, 10), (3, 0, 3, 3), (0, 1e-3, 0, 0.01)])
def test_magnitudes_are_clipped(m, mstd, low, high):
    magnitude = RandAugment(2, m, mstd).draw(2000, generator(1)).magnitude
    assert low <= magnitude.min() and magnitude.max() <= high


def test_magnitudes_in_the_middle_are_normal():
    magnitude = RandAugment(1, 5, 0.5).draw(20_000, generator(2)).magnitude.flatten()
    assert stats.kstest(magnitude.numpy(), stats.norm(5, 0.5).cdf).pvalue > 1e-3


def test_magnitude_depends_on_nothing_and_neighbours_are_independent(drawn):
    fields = [field.double() for field in drawn]
    numbers = torch.cat(fields, 1)
    within = torch.corrcoef(numbers.T).fill_diagonal_(0)
    after = torch.corrcoef(torch.cat([numbers[:-1], numbers[1:]], 1).T)[:10, 10:]
    assert max(within.abs().max(), after.abs().max()) < 4.5 / DRAWS**0.5


def test_every_image_is_augmented_on_its_own():
    images, rand = sample_images(3)[1:2].expand(64, -1, -1, -1) / 255, RandAugment(2, 10, 0.5)
    params = rand.draw(64, generator(3))
    found = rand.grouped(images, params)
    assert len(found.flatten(1).unique(dim=0)) > 30
    (part,) = slice_params([params], slice(5, 25))
    assert torch.equal(rand.grouped(images[5:25], part), found[5:25])
    assert torch.equal(rand.branch_free(images, params), found)
    idle = ~params.applied.any(1)
    assert idle.any() and torch.equal(found[idle], images[idle])


def test_a_seed_decides_and_every_call_is_fresh():
    rand, random = RandAugment(2, 10, 0.5), generator(4)
    first, second = rand.draw(50, random), rand.draw(50, random)
    assert all(map(torch.equal, first, rand.draw(50, generator(4))))
    assert not torch.equal(first.operation, second.operation)


def test_branch_free_reads_nothing_and_its_kernels_are_as_many_for_every_batch():
    rand = RandAugment(2, 10, 0.5)
    assert_kernels_are_as_many_for_every_batch(rand.branch_free, rand.draw)


@pytest.mark.slow
def test_branch_free_compiles_to_one_graph():
    rand = RandAugment(2, 10, 0.5)
    assert_one_graph(rand.branch_free, rand.draw)


@pytest.mark.parametrize("wrong", [(0, 10, 0.5), (2, -1, 0.5), (2, 10, -0.5)])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingError, match="(n|m|mstd) is at least [01], not "):
        RandAugment(*wrong)
