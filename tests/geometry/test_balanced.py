import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import PRECISIONS, SINGLE, golden
from torch import Tensor

from lt_bench.geometry.balanced import greedy_assignment, one_pass, row_normalized_cosine, two_pass
from lt_bench.geometry.kmeans import cosine, lloyd


def official_euclidean(samples: Tensor, centers: Tensor) -> Tensor:
    scores = 1 / (torch.cdist(centers, samples) ** 2 + 1e-4)
    return scores / scores.sum(1, keepdim=True)


def official_score(case: str):
    return official_euclidean if case == "c" else row_normalized_cosine


def greedy_by_loop(scores: Tensor, capacity: int) -> list[int]:
    clusters, count = scores.shape
    pairs = sorted((-float(scores[k, i]), k, i) for k in range(clusters) for i in range(count))
    owner, sizes = [-1] * count, [0] * clusters
    for _, center, sample in pairs:
        if owner[sample] == -1 and sizes[center] < capacity:
            owner[sample] = center
            sizes[center] += 1
    return owner


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize("dtype", [precision for precision, _ in PRECISIONS])
@pytest.mark.parametrize(("name", "assign"), [("official", two_pass), ("twopass", two_pass), ("greedy", one_pass)])
def test_converged_clusters_equal_the_golden_ones(case, dtype, name, assign):
    vectors = golden("sbcl_balanced_kmeans", case)
    score = official_score(case) if name == "official" else cosine
    samples, starts = vectors["X"].to(dtype), vectors["init_indices"].long()
    found = lloyd(samples, starts, assign, int(vectors["max_iter"]), score, tolerance=float(vectors["tol"]))
    assert torch.equal(found.labels, vectors[f"{name}_labels"].long())
    torch.testing.assert_close(found.centers.float(), vectors[f"{name}_centroids"], **SINGLE)
    if name != "official":
        assert found.iterations == int(vectors[f"{name}_iters"])
    if name == "greedy":
        assert int(found.labels.bincount().max()) <= int(vectors["greedy_capacity"])


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize("dtype", [precision for precision, _ in PRECISIONS])
def test_first_official_assignment_equals_the_golden_one(case, dtype):
    vectors = golden("sbcl_balanced_kmeans", case)
    samples = vectors["X"].to(dtype)
    labels = two_pass(official_score(case)(samples, samples[vectors["init_indices"].long()]))
    assert torch.equal(labels, vectors["official_one_pass"].long())


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 3), (4, 17), (7, 30), (5, 3), (2, 0)])
@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("capacity", [1, 4, 100])
def test_greedy_is_the_loop_over_all_pairs(shape, levels, capacity):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    if levels:
        scores = (scores * levels).round() / levels  # few distinct values: many ties
    assert greedy_assignment(scores, capacity).tolist() == greedy_by_loop(scores, capacity)


def test_ties_go_to_the_lower_centre_then_to_the_lower_sample():
    assert greedy_assignment(torch.zeros(3, 5), 2).tolist() == [0, 0, 1, 1, 2]
    assert greedy_assignment(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), 1).tolist() == [1, 0]


@pytest.mark.parametrize(("clusters", "count"), [(1, 6), (4, 4), (4, 9), (4, 10), (7, 50), (10, 129)])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("score", [cosine, row_normalized_cosine])
def test_sizes_are_bounded_for_cosines_of_both_signs(clusters, count, seed, score):
    samples = F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)
    scores = score(samples, samples[:clusters])
    assert bool((cosine(samples, samples[:clusters]) < 0).any())
    sizes = two_pass(scores).bincount(minlength=clusters)
    assert int(sizes.sum()) == count and int(sizes.max() - sizes.min()) <= 1
    sizes = one_pass(scores).bincount(minlength=clusters)
    assert int(sizes.sum()) == count and int(sizes.max()) <= -(-count // clusters)


def test_the_second_pass_gives_a_centre_one_more_at_most():
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0, 0.2]])
    # one each: sample 0 to centre 0, sample 4 to centre 2, sample 1 to centre 1; then 2 to 0, and 3 to the next best
    assert two_pass(scores).tolist() == [0, 1, 0, 1, 2]
    assert one_pass(scores).tolist() == [0, 0, 1, 1, 2]


def test_duplicates_are_shared_out():
    samples = F.normalize(torch.ones(10, 4), dim=1)
    found = lloyd(samples, torch.tensor([0, 1, 2]), two_pass, 50)
    assert sorted(found.labels.bincount().tolist()) == [3, 3, 4]


def test_a_centre_left_empty_by_the_upper_bound_keeps_its_place():
    samples = F.normalize(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    found = lloyd(samples, torch.tensor([0, 1, 2, 3]), one_pass, 50)
    assert bool(found.centers.isfinite().all())
    assert int(found.labels.bincount(minlength=4).max()) <= 3


def test_rows_are_divided_by_their_sum():
    samples = F.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    scores = row_normalized_cosine(samples, samples[:3])
    torch.testing.assert_close(scores.sum(1), torch.ones(3))
