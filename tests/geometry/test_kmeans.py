import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import PRECISIONS, SINGLE, golden
from torch import Tensor

from lt_bench.geometry.kmeans import cosine, lloyd, nearest


def unit_samples(count: int, width: int = 5, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize("dtype", [precision for precision, _ in PRECISIONS])
def test_plain_kmeans_equals_the_golden_clusters(case, dtype):
    vectors = golden("sbcl_kmeans", case)
    found = lloyd(
        vectors["X"].to(dtype),
        vectors["init_indices"],
        nearest,
        int(vectors["iter_limit"]),
        refill=torch.Generator(),
        tolerance=float(vectors["tol"]),
    )
    assert torch.equal(found.labels, vectors["labels"].long())
    torch.testing.assert_close(found.centers.float(), vectors["centroids"], **SINGLE)


def test_cosine_is_that_of_normalised_centres():
    samples, centers = unit_samples(7), 3 * torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([F.cosine_similarity(samples, center[None]) for center in centers])
    torch.testing.assert_close(cosine(samples, centers), expected)


def test_nearest_takes_the_first_of_equal_centres():
    assert nearest(torch.tensor([[1.0, 2.0], [1.0, 3.0], [0.0, 3.0]])).tolist() == [0, 1]


def test_centres_are_the_means_of_their_members():
    samples = unit_samples(40)
    found = lloyd(samples, torch.tensor([0, 1, 2]), nearest, 35)
    for center in range(3):
        torch.testing.assert_close(found.centers[center], samples[found.labels == center].mean(0))


def test_stops_after_the_given_iterations_or_when_the_centres_rest():
    samples, starts = unit_samples(60), torch.arange(6)
    assert lloyd(samples, starts, nearest, 2, tolerance=0).iterations == 2
    rested = lloyd(samples, starts, nearest, 500, tolerance=1e-12)
    assert rested.iterations < 500
    assert torch.equal(nearest(cosine(samples, rested.centers)), rested.labels)


@pytest.mark.parametrize("refill", [False, True])
def test_an_empty_centre_stays_or_jumps_to_a_sample(refill):
    samples = unit_samples(1).repeat(4, 1)  # four times the same: the second centre gets nothing
    samples[3] = -samples[0]
    generator = torch.Generator().manual_seed(0) if refill else None
    once = lloyd(samples, torch.tensor([0, 1]), lambda scores: torch.zeros(4, dtype=torch.int64), 1, refill=generator)
    drawn = int(torch.randint(4, (1,), generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(once.centers[1], samples[drawn] if refill else samples[1])
    torch.testing.assert_close(once.centers[0], samples.mean(0))


def test_nothing_is_drawn_while_no_centre_is_empty():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    lloyd(unit_samples(30), torch.tensor([0, 1]), nearest, 35, refill=generator)
    assert torch.equal(generator.get_state(), before)


def test_one_cluster_and_as_many_clusters_as_samples():
    samples = unit_samples(6)
    assert lloyd(samples, torch.tensor([4]), nearest, 35).labels.tolist() == [0] * 6
    assert lloyd(samples, torch.arange(6), nearest, 35).labels.tolist() == list(range(6))


def test_refuses_too_few_samples_and_samples_that_are_not_finite():
    samples = unit_samples(3)
    with pytest.raises(ValueError, match="between 1 and 3 clusters"):
        lloyd(samples, torch.tensor([0, 1, 2, 0]), nearest, 35)
    samples[1, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        lloyd(samples, torch.tensor([0]), nearest, 35)
