import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden
from torch import Tensor

from lt_bench.geometry.seeding import inverse_cosine_starts, spread_starts


def unit_samples(count: int, width: int = 3, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread_by_loop(samples: Tensor, numbers: list[float]) -> list[int]:
    starts: list[int] = []
    for number in numbers:
        weights = []
        for index in range(len(samples)):
            near = [float(1 - samples[index] @ samples[start]) for start in starts]
            weights.append(0.0 if index in starts else max(0.0, min(near, default=1.0)))
        target, mass, index = number * sum(weights), 0.0, -1
        while mass <= target:
            index += 1
            mass += weights[index]
        starts.append(index)
    return starts


@pytest.mark.parametrize("seed", range(5))
def test_spread_starts_are_drawn_by_cosine_distance(seed):
    samples = unit_samples(30, seed=seed).double()
    numbers = torch.rand(6, generator=generator(seed), dtype=torch.float64).tolist()
    assert spread_starts(samples, 6, generator(seed)).tolist() == spread_by_loop(samples, numbers)


@pytest.mark.parametrize(("count", "clusters"), [(1, 1), (5, 5), (40, 12)])
def test_spread_starts_are_distinct_even_among_duplicates(count, clusters):
    for samples in (unit_samples(count), unit_samples(1).repeat(count, 1)):
        assert len(set(spread_starts(samples, clusters, generator()).tolist())) == clusters


def test_spread_starts_find_separate_groups():
    groups = torch.eye(6).repeat_interleave(20, 0)
    starts = spread_starts(groups, 6, generator())
    assert sorted((starts // 20).tolist()) == list(range(6))


@pytest.mark.parametrize("case", ["a", "b"])
def test_inverse_cosine_starts_equal_the_golden_ones(case):
    vectors = golden("sbcl_balanced_kmeans", case)  # positive cosines: the published seeding is defined
    starts = inverse_cosine_starts(vectors["X"], int(vectors["num_clusters"]))
    assert torch.equal(starts, vectors["init_indices"].long())


@pytest.mark.parametrize("seed", range(10))
def test_inverse_cosine_starts_stay_within_the_samples_for_negative_cosines(seed):
    starts = inverse_cosine_starts(unit_samples(60, seed=seed), 6)
    assert starts.shape == (6,) and 0 <= int(starts.min()) and int(starts.max()) < 60


@pytest.mark.parametrize("draw", [lambda *given: spread_starts(*given, generator()), inverse_cosine_starts])
def test_refuses_too_few_samples_and_samples_that_are_not_finite(draw):
    with pytest.raises(ValueError, match="between 1 and 3 clusters"):
        draw(unit_samples(3), 4)
    with pytest.raises(ValueError, match="finite"):
        draw(torch.tensor([[1.0], [torch.inf]]), 1)
