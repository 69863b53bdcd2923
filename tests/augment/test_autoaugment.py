"""AutoAugment: the policy against torchvision's list, images against the Python Imaging Library, and the law."""

import numpy as np
import pytest
import torch
from helpers.branch_free import assert_kernels_are_as_many_for_every_batch, assert_one_graph
from helpers.pil_operations import BICUBIC, NEAREST, on_pil, sample_images
from scipy import stats
from torchvision.transforms import AutoAugment as TorchvisionAutoAugment
from torchvision.transforms import AutoAugmentPolicy

from lt_bench.augment.autoaugment import POLICY, AutoAugment, AutoAugmentParams
from lt_bench.augment.pipeline import slice_params

PAIRS = TorchvisionAutoAugment(AutoAugmentPolicy.CIFAR10).policies
PATHS = ["grouped", "branch_free"]
DRAWS = 50_000

# the official ranges, as they are written there
RANGES = {
    "ShearY": np.linspace(0, 0.3, 10),
    "TranslateX": np.linspace(0, 150 / 331, 10),
    "TranslateY": np.linspace(0, 150 / 331, 10),
    "Rotate": np.linspace(0, 30, 10),
    "Posterize": (8, 8, 7, 7, 6, 6, 5, 5, 4, 4),
    "Solarize": np.linspace(256, 0, 10),
}
ENHANCEMENTS = ("Color", "Contrast", "Sharpness", "Brightness")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def official(image, name, index, negative):
    """One operation of the published policy on a uint8 image."""
    sign = -1 if negative else 1
    if name in ENHANCEMENTS:
        return on_pil(image, name, 1 + sign * np.linspace(0, 0.9, 10)[index])
    strength = RANGES[name][index] if name in RANGES else 0
    if name.startswith(("Shear", "Translate")):
        strength *= sign
    return on_pil(image, name, float(strength), BICUBIC if name.startswith("Shear") else NEAREST)


def everything():
    """Each sub-policy with all choices of what is applied and of the signs: 25 x 16 rows."""
    choices = torch.cartesian_prod(torch.arange(25), *[torch.arange(2)] * 4)
    return AutoAugmentParams(choices[:, 0], choices[:, 1:3].bool(), choices[:, 3:].bool())


def expected_images(images, params):
    out = []
    for image, policy, applied, negative in zip(images, *params, strict=True):
        for slot, (name, _, index) in enumerate(PAIRS[policy]):
            image = official(image, name, index, bool(negative[slot])) if applied[slot] else image
        out.append(image)
    return torch.stack(out)


def test_policy_is_torchvisions():
    found = [[(op.name.replace("_", "").lower(), p, index) for op, p, index in pair] for pair in POLICY]
    expected = [[(name.lower(), p, index or 0) for name, p, index in pair] for pair in PAIRS]
    assert found == expected


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [32, 8])
def test_images_are_those_of_pil(path, size):
    params = everything()
    images = sample_images(len(params.policy), size, size)
    found = getattr(AutoAugment(), path)(images / 255, params).mul(255)
    expected = expected_images(images, params).float()
    torch.testing.assert_close(found, found.round(), rtol=0, atol=1e-4)
    differs = found.round() != expected
    bicubic = torch.tensor([pair[0][0] == "ShearY" for pair in PAIRS])[params.policy] & params.applied[:, 0]
    assert not differs[~bicubic].any()
    assert differs[bicubic].float().mean() < 1e-3


@pytest.mark.parametrize("size", [32, 8])
def test_branch_free_equals_grouped(size):
    images, auto = sample_images(300, size, size) / 255, AutoAugment()
    params = auto.draw(300, generator(1))
    assert torch.equal(auto.branch_free(images, params), auto.grouped(images, params))


@pytest.fixture(scope="module")
def drawn():
    return AutoAugment().draw(DRAWS, generator(0))


def test_sub_policies_are_uniform(drawn):
    assert stats.chisquare(drawn.policy.bincount(minlength=25).numpy()).pvalue > 1e-3


def test_operations_are_applied_with_their_probabilities_and_independently(drawn):
    for policy, pair in enumerate(PAIRS):
        applied = drawn.applied[drawn.policy == policy].double()
        wanted = torch.tensor([p for _, p, _ in pair], dtype=torch.float64)
        spread = (wanted * (1 - wanted) / len(applied)).sqrt()
        assert ((applied.mean(0) - wanted).abs() <= 4 * spread).all()
        assert abs(applied.prod(1).mean() - wanted.prod()) <= 4 * (wanted.prod() / len(applied)).sqrt()
    assert not drawn.applied[drawn.policy == 14, 1].any()  # Invert with probability 0


def test_signs_are_even_and_independent_of_everything(drawn):
    patterns = drawn.negative[:, 0] + 2 * drawn.negative[:, 1] + 4 * drawn.applied[:, 0]
    counts = patterns.bincount(minlength=8).view(2, 4)
    assert stats.chisquare(counts.sum(0).numpy()).pvalue > 1e-3
    assert stats.chi2_contingency(counts.numpy()).pvalue > 1e-3
    assert stats.chi2_contingency([drawn.policy[n].bincount().numpy() for n in drawn.negative.T]).pvalue > 1e-3


def test_neighbours_are_independent(drawn):
    numbers = torch.cat([drawn.policy[:, None], drawn.applied, drawn.negative], 1).double()
    after = torch.corrcoef(torch.cat([numbers[:-1], numbers[1:]], 1).T)[:5, 5:]
    assert after.abs().max() < 4.5 / DRAWS**0.5


def test_every_image_is_augmented_on_its_own():
    images = sample_images(3)[1:2].expand(64, -1, -1, -1) / 255
    auto = AutoAugment()
    params = auto.draw(64, generator(3))
    found = auto.grouped(images, params)
    assert len(found.flatten(1).unique(dim=0)) > 30
    (part,) = slice_params([params], slice(5, 25))
    assert torch.equal(auto.grouped(images[5:25], part), found[5:25])


def test_a_seed_decides_and_every_call_is_fresh():
    auto, random = AutoAugment(), generator(4)
    first, second = auto.draw(50, random), auto.draw(50, random)
    again = auto.draw(50, generator(4))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.policy, second.policy)


def test_branch_free_reads_nothing_and_its_kernels_are_as_many_for_every_batch():
    auto = AutoAugment()
    assert_kernels_are_as_many_for_every_batch(auto.branch_free, auto.draw)


@pytest.mark.slow
def test_branch_free_compiles_to_one_graph():
    auto = AutoAugment()
    assert_one_graph(auto.branch_free, auto.draw)
