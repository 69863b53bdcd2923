"""Magnitude masks: the authors' masks, how many weights stay, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import FOLDER

from lt_bench.errors import SettingError
from lt_bench.geometry.pruning import magnitude_masks

with np.load(FOLDER / "sdclr_masks.npz") as arrays:
    MASKS = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
CASES = ["c0", "c1"]


def weights_of(case):
    names = sorted(name for name in MASKS if name.startswith(f"{case}_weight"))
    return [MASKS[name] for name in names]


def masks_of(case, what):
    return [MASKS[f"{case}_{what}_mask{number}"].bool() for number in range(len(weights_of(case)))]


def dropped(masks):
    return sum(int((~mask).sum()) for mask in masks)


@pytest.mark.parametrize("case", CASES)
def test_masks_are_the_authors(case):
    weights = weights_of(case)
    for fraction in MASKS[f"{case}_fractions"].tolist():
        what = f"f{round(1000 * fraction):04d}"
        masks = magnitude_masks(weights, fraction)
        assert all(map(torch.equal, masks, masks_of(case, what)))
        assert dropped(masks) == MASKS[f"{case}_{what}_pruned"]
        share = dropped(masks) / sum(map(torch.numel, weights))
        assert share == pytest.approx(float(MASKS[f"{case}_{what}_sparsity"]), abs=1e-6)  # theirs in single precision


@pytest.mark.parametrize("case", CASES)
def test_masks_with_a_random_part_are_the_authors(case):
    weights = weights_of(case)
    torch.manual_seed(int(MASKS[f"{case}_random_seed"]))
    draws = [torch.rand(weight.shape) for weight in weights]
    masks = magnitude_masks(weights, 0.7, 0.2, draws)
    assert all(map(torch.equal, masks, masks_of(case, "random")))
    share = dropped(masks) / sum(map(torch.numel, weights))
    assert share == pytest.approx(float(MASKS[f"{case}_random_sparsity"]), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_masked_convolutions_are_the_authors(case):
    weight, inputs = weights_of(case)[0], MASKS[f"{case}_input"]
    first = float(MASKS[f"{case}_fractions"][0])
    masked = weight * magnitude_masks(weights_of(case), first)[0]
    tolerance = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(F.conv2d(inputs, masked), MASKS[f"{case}_masked_output0"], **tolerance)
    torch.testing.assert_close(F.conv2d(inputs, weight), MASKS[f"{case}_dense_output0"], **tolerance)


def some_weights(count=1000):
    return torch.randn(count, generator=torch.Generator().manual_seed(0)).split([count // 4, count - count // 4])


def test_none_is_dropped_at_zero_and_one_is_kept_at_one():
    weights = some_weights()
    assert dropped(magnitude_masks(weights, 0.0)) == 0
    (kept,) = torch.cat(weights)[torch.cat(magnitude_masks(weights, 1.0))]
    assert kept.abs() == torch.cat(weights).abs().max()


@pytest.mark.parametrize(("fraction", "count", "expected"), [(0.55, 100, 55), (0.07, 100, 7), (0.5, 9, 5)])
def test_the_count_is_the_exact_product_rounded_up(fraction, count, expected):
    """In floating point 0.55 * 100 and 0.07 * 100 come out a little above the whole number."""
    assert dropped(magnitude_masks(some_weights(count), fraction)) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_of_all_tensors_together_are_dropped(dtype):
    weights = [weight.to(dtype) * scale for weight, scale in zip(some_weights(), (1.0, 10.0), strict=True)]
    masks = torch.cat(magnitude_masks(weights, 0.25))
    magnitudes = torch.cat(weights).abs()
    assert magnitudes[masks].min() > magnitudes[~masks].max()
    assert masks[:250].float().mean() < masks[250:].float().mean()


def test_equal_weights_at_the_threshold_are_all_kept():
    (mask,) = magnitude_masks([torch.tensor([1.0, -2.0, 2.0, 2.0, 3.0])], 0.4)  # two to drop, the place of a 2
    assert mask.tolist() == [False, True, True, True, True]


def test_the_random_part_drops_its_share_and_draws_decide_which():
    weights = some_weights(20_000)
    generator = torch.Generator().manual_seed(1)
    draws = [torch.rand(weight.shape, generator=generator) for weight in weights]
    masks = torch.cat(magnitude_masks(weights, 0.7, 0.2, draws))
    large = torch.cat(magnitude_masks(weights, 0.5))
    assert not (masks & ~large).any()  # what is too small stays dropped
    assert 1 - masks.float().mean() == pytest.approx(0.7, abs=0.01)
    assert torch.equal(masks, large & (torch.cat(draws) >= 0.4))
    assert dropped(magnitude_masks(weights, 0.7, 0.2, [torch.ones(weight.shape) for weight in weights])) == 10_000


@pytest.mark.parametrize("fractions", [(-0.1, 0), (1.1, 0), (0.5, 0.6), (0.5, -0.1), (1.0, 1.0), (float("nan"), 0)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(SettingError, match="fraction is (from 0 to 1|at least 0, below 1 and at most the whole)"):
        magnitude_masks(some_weights(), *fractions)


def test_missing_weights_and_draws_are_refused():
    with pytest.raises(ValueError, match="no weights"):
        magnitude_masks([], 0.5)
    with pytest.raises(ValueError, match="needs draws"):
        magnitude_masks(some_weights(), 0.5, 0.1)
