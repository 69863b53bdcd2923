"""Clouded logits against the authors' functions, and their limits."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden
from helpers.mixing_losses import CASES, PRECISIONS, compare

from lt_bench.errors import DataError, SettingError
from lt_bench.losses.gaussian_cloud import GaussianClouds, cloud_sizes, detached_focal

STORED = golden("mixing_losses")


def as_stored(case, scale, margin, dtype):
    clouds = GaussianClouds(STORED[f"{case}__counts"], scale, 0.5, margin)
    if dtype == torch.float64:
        clouds.sizes = cloud_sizes(STORED[f"{case}__counts"])
    noise = STORED[f"{case}__noise"].to(dtype).clamp(-1, 1).abs()
    clouds.noise = lambda like: noise
    return clouds


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("name", "scale", "margin"), [("gcl_stage1", 30.0, 0.0), ("gcl_stage2", 20.0, 0.1)])
def test_is_that_of_the_authors(case, dtype, name, scale, margin):
    clouds = as_stored(case, scale, margin, dtype)
    loss = F.cross_entropy if name == "gcl_stage1" else detached_focal
    compare(case, name, dtype, lambda z, y: loss(clouds(scale * z, y), y), inputs="cosines")


def test_sizes_are_those_of_the_authors():
    stored = golden("mixing_class_vectors")
    names = [name for name in stored if name.endswith("__gcl_cloud")]
    assert len(names) >= 3
    for name in names:
        counts = stored[name.replace("gcl_cloud", "counts")]
        torch.testing.assert_close(cloud_sizes(counts), stored[name].double(), rtol=1e-5, atol=1e-6)
    assert not cloud_sizes(torch.tensor([7, 7, 7])).any()
    with pytest.raises(DataError):
        cloud_sizes(torch.tensor([7, 0]))


def test_without_cloud_and_margin_logits_are_left_alone():
    logits, labels = (
        30 * torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) - 15,
        torch.tensor([0, 1, 2, 0, 1]),
    )
    assert torch.equal(GaussianClouds(torch.tensor([9, 3, 1]), 30, 0, 0)(logits, labels), logits)


def test_noise_lowers_rare_classes_by_no_more_than_the_cloud_and_is_that_of_the_generator():
    clouds, labels = GaussianClouds(torch.tensor([9, 3, 1]), 30, 0.5, 0.0), torch.zeros(4000, dtype=torch.int64)
    logits = torch.zeros(4000, 3)
    first, again = (_with(clouds, torch.Generator().manual_seed(1))(logits, labels) for _ in range(2))
    assert torch.equal(first, again)
    assert not first[:, 0].any() and bool((first <= 0).all()) and bool((first >= -15).all())
    # the mean of |normal| with deviation 1/3 is sqrt(2 / pi) / 3 = 0.266; cut off at 1, it is hardly less
    torch.testing.assert_close(first[:, 2].mean() / 15, torch.tensor(-0.266), atol=0.01, rtol=0)
    assert bool(torch.isfinite(_with(clouds, torch.Generator())(logits.bfloat16(), labels)).all())


def _with(clouds, generator):
    clouds.generator = generator
    return clouds


@pytest.mark.parametrize("values", [(0.0, 0.5, 0.0), (30, -1, 0.0), (30, 0.5, -0.1), (float("inf"), 0.5, 0.0)])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(SettingError):
        GaussianClouds(torch.tensor([3, 1]), *values)
