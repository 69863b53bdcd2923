"""Boosted RandAugment: the authors' values and images, strengths, chains, the law, host reads and kernels."""

import numpy as np
import pytest
import torch
from helpers.branch_free import assert_kernels_are_as_many_for_every_batch, assert_one_graph
from helpers.golden_vectors import FOLDER, golden
from helpers.pil_operations import COLOR_OPERATIONS, MOVES, NEAREST, sample_images, transformed
from PIL import ImageDraw
from scipy import stats
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from lt_bench.augment.boosted import TABLE, Boost, BoostedParams, BoostedRandAugment
from lt_bench.augment.pipeline import Pipeline, slice_params
from lt_bench.errors import SettingError

PATHS = ["grouped", "branch_free"]
ONE = BoostedRandAugment(1, floor=10, random=False)
TWO = BoostedRandAugment(2, floor=5, random=True)
LARGE = BoostedRandAugment(2, floor=0, random=True)
with np.load(FOLDER / "boosted_cl_randaugment.npz") as arrays:
    NAMES = arrays["operation_names"].tolist()
DRAWS = 30_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def boost(count, weight=0.5, seed=0):
    return Boost(torch.full((count,), float(weight)), torch.rand(count, generator=generator(seed)))


def single(row, strengths, negative, center=(0.5, 0.5)):
    """One operation, applied to as many images as there are strengths."""
    count = len(strengths)
    return BoostedParams(
        row=torch.full((count, 1), row),
        strength=torch.as_tensor(strengths, dtype=torch.float64),
        applied=torch.ones(count, 1, dtype=torch.bool),
        negative=torch.full((count, 1), negative),
        center=torch.as_tensor(center, dtype=torch.float64).expand(count, 1, 2),
    )


@pytest.mark.parametrize(("op", "name"), [(ONE, "cifar_k1"), (TWO, "cifar_k2"), (LARGE, "large_k2")])
def test_strengths_are_the_authors(op, name):
    case = golden("boosted_cl_strength")
    assert case["max_strength"] == op.max_strength
    for uniform, expected in zip(case["uniform_draws"], case[name], strict=True):
        operations, strength, probability = expected.unbind(1)
        given = Boost(case["weights"], uniform.expand(len(case["weights"])))
        assert (operations == op.k).all() and torch.equal(probability, given.weight)
        torch.testing.assert_close(op.strength(given), strength, rtol=1e-12, atol=1e-12)


def test_values_are_the_authors():
    case = golden("boosted_cl_randaugment")
    for row, name in enumerate(NAMES):
        for negative in (False, True):
            (step,) = ONE.steps(single(row, case["strengths"], negative))
            expected = case["values"][row].floor() if name == "Posterize" else case["values"][row]
            sign = -1 if negative and name in MOVES else 1
            torch.testing.assert_close(step.strength, sign * expected, rtol=1e-12, atol=1e-12)
    assert [[float(number) for number in row[1:3]] for row in TABLE] == torch.stack(
        [case["low"], case["high"]], 1
    ).tolist()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("row", range(len(NAMES)), ids=NAMES)
def test_images_are_the_authors(row, negative, path):
    case = golden("boosted_cl_randaugment")
    image = case["image"].permute(2, 0, 1) / 255
    x, y = case["cutout_uniform_draws"] / 16
    params = single(row, case["strengths"], negative, (y, x))
    found = getattr(ONE, path)(image.expand(len(params.row), -1, -1, -1), params)
    expected = case["output_negative" if negative else "output_positive"][row].permute(0, 3, 1, 2)
    assert torch.equal((found * 255).round().byte(), expected)
    torch.testing.assert_close(found * 255, expected.float(), rtol=0, atol=1e-4)


def one_by_one(image, name, value, center):
    """One operation of the table on a PIL image."""
    if name == "Cutout":
        side, (width, height) = value * image.width, image.size
        left, top = (int(max(0, share * size - side / 2)) for share, size in zip(center[::-1], image.size, strict=True))
        box = (left, top, int(min(width, left + side)), int(min(height, top + side)))
        ImageDraw.Draw(image).rectangle(box, (125, 123, 114))
        return image
    if name in MOVES:
        return transformed(image, name, value, NEAREST, (0, 0, 0))
    return COLOR_OPERATIONS[name](image, value)


def expected_images(images, params):
    out = []
    for image, rows, strength, applied, negative, center in zip(images, *params, strict=True):
        picture = to_pil_image(image)
        for slot in range(len(rows)):
            name, (low, high) = NAMES[rows[slot]], TABLE[rows[slot]][1:3]
            value = low + float(strength) / 30 * (high - low)
            value = int(value) if name == "Posterize" else value
            if applied[slot]:
                value = -value if negative[slot] and name in MOVES else value
                picture = one_by_one(picture, name, value, center[slot].tolist())
        out.append(pil_to_tensor(picture))
    return torch.stack(out)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 8), (28, 20)])
def test_chains_are_those_of_pil(height, width, path):
    images, op = sample_images(300, height, width), BoostedRandAugment(3, floor=0, random=True)
    params = op.draw(300, generator(5), boost(300, 0.8))
    found = (getattr(op, path)(images / 255, params) * 255).round().byte()
    assert torch.equal(found, expected_images(images, params))
    assert (params.applied & (params.row == NAMES.index("Cutout"))).sum() > 30


@pytest.mark.parametrize("path", PATHS)
def test_without_weight_nothing_happens_and_with_full_weight_everything(path):
    images = sample_images(64) / 255
    idle = TWO.draw(64, generator(1), boost(64, 0.0))
    assert not idle.applied.any() and torch.equal(getattr(TWO, path)(images, idle), images)
    assert TWO.draw(64, generator(1), boost(64, 1.0)).applied.all()


@pytest.fixture(scope="module")
def drawn():
    return TWO.draw(DRAWS, generator(0), boost(DRAWS, 0.3))


def test_operations_are_uniform_and_drawn_with_replacement(drawn):
    pairs = drawn.row[:, 0] * 15 + drawn.row[:, 1]
    assert stats.chisquare(pairs.bincount(minlength=225).numpy()).pvalue > 1e-3


def test_the_weight_is_the_probability_of_each_operation_and_signs_are_even(drawn):
    patterns = (torch.cat([drawn.applied, drawn.negative], 1) * 2 ** torch.arange(4)).sum(1)
    shares = [0.7**2, 0.3 * 0.7, 0.7 * 0.3, 0.3**2]
    expected = torch.tensor(shares, dtype=torch.float64).repeat(4) * DRAWS / 4
    assert stats.chisquare(patterns.bincount(minlength=16).numpy(), expected.numpy()).pvalue > 1e-3


def test_centres_are_uniform(drawn):
    for axis in (0, 1):
        assert stats.kstest(drawn.center[:, :, axis].flatten().numpy(), stats.uniform.cdf).pvalue > 1e-3


def test_every_image_has_its_own_weight():
    weight = torch.tensor([0.0, 1.0]).repeat(100)
    params = TWO.draw(200, generator(3), Boost(weight, torch.ones(200)))
    assert torch.equal(params.applied, (weight > 0)[:, None].expand(200, 2))
    assert torch.equal(params.strength, 5 + 25 * weight.double())


def test_every_image_is_augmented_on_its_own_both_ways():
    images = sample_images(3)[1:2].expand(64, -1, -1, -1) / 255
    params = TWO.draw(64, generator(3), boost(64, 0.7))
    found = TWO.grouped(images, params)
    assert len(found.flatten(1).unique(dim=0)) > 25
    (part,) = slice_params([params], slice(5, 25))
    assert torch.equal(TWO.grouped(images[5:25], part), found[5:25])
    assert torch.equal(TWO.branch_free(images, params), found)


def test_branch_free_reads_nothing_and_its_kernels_are_as_many_for_every_batch():
    assert_kernels_are_as_many_for_every_batch(
        TWO.branch_free, lambda size, random: TWO.draw(size, random, boost(size))
    )


@pytest.mark.slow
def test_branch_free_compiles_to_one_graph():
    assert_one_graph(TWO.branch_free, lambda size, random: TWO.draw(size, random, boost(size)))


def test_a_view_without_strengths_is_refused():
    view = Pipeline([ONE], (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match="needs a strength for every image, which nothing gives here"):
        view(sample_images(3), generator())


@pytest.mark.parametrize("wrong", [(0, 10, False), (1, -1, False), (1, 10, True, 9), (2, 5, True, 31)])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingError, match="(k|floor|max_strength) is (at least 1|from 0 to|at most 30)"):
        BoostedRandAugment(*wrong)
