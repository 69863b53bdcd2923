import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import FOLDER, golden
from torch import Tensor

from lt_bench.errors import SettingError
from lt_bench.geometry.subclasses import RULES, cluster, draw_starts, num_subclasses, update_subclasses

with np.load(FOLDER / "sbcl_numclusters.npz") as _arrays:
    COUNT_CASES = [name.removesuffix("_counts") for name in _arrays.files if name.endswith("_counts")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def long_tailed(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, labels sorted by class, subclasses per class; class 2 has no image, class 4 a single one."""
    counts = torch.tensor([43, 20, 0, 9, 1])
    embeddings = F.normalize(torch.randn(int(counts.sum()), 6, generator=generator(seed)), dim=1)
    return embeddings, torch.arange(5).repeat_interleave(counts), torch.tensor([6, 3, 1, 2, 1])


def update(embeddings: Tensor, labels: Tensor, clusters: Tensor, rule: str, seed: int = 0) -> Tensor:
    return update_subclasses(embeddings, labels, clusters, rule, generator(seed), np.random.RandomState(seed))


@pytest.mark.parametrize("case", COUNT_CASES)
def test_numbers_of_subclasses_equal_the_golden_ones(case):
    vectors = golden("sbcl_numclusters", case)
    assert torch.equal(num_subclasses(vectors["counts"], int(case.rsplit("delta")[-1])), vectors["clusters"])


def test_the_rarest_class_bounds_the_size_where_it_is_larger():
    assert num_subclasses(torch.tensor([100, 59, 20]), 10).tolist() == [5, 2, 1]
    assert num_subclasses(torch.tensor([100, 0]), 10).tolist() == [10, 1]
    with pytest.raises(ValueError, match="at least 1 image"):
        num_subclasses(torch.tensor([3]), 0)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_a_whole_update_equals_the_golden_one(case):
    vectors = golden("sbcl_cluster_update", case)
    clusters = num_subclasses(vectors["cls_num_list"], int(vectors["delta"]))
    assert torch.equal(clusters, vectors["clusters_per_class"])
    state = np.random.RandomState(int(vectors["np_seed"]))
    labels = vectors["labels"].long()
    ids = update_subclasses(vectors["features"], labels, clusters, "kmeans_official", generator(), state)
    assert torch.equal(ids, vectors["subclass"].long())


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_starts_of_a_whole_update_equal_the_golden_ones(case):
    vectors = golden("sbcl_cluster_update", case)
    state = np.random.RandomState(int(vectors["np_seed"]))
    rows = vectors["features"].split(vectors["cls_num_list"].tolist())
    starts = [
        draw_starts(samples, clusters, "kmeans_official", generator(), state)
        for samples, clusters in zip(rows, vectors["clusters_per_class"].tolist(), strict=True)
        if clusters > 1
    ]
    assert torch.equal(torch.cat(starts), vectors["init_indices"])


@pytest.mark.parametrize("rule", RULES)
def test_ids_are_unique_over_classes_and_every_rule_covers_all_images(rule):
    embeddings, labels, clusters = long_tailed()
    ids = update(embeddings, labels, clusters, rule)
    first = torch.tensor([0, 6, 9, 10, 12])
    local = ids - first[labels]
    assert ids.dtype == torch.int64
    assert bool((local >= 0).all()) and bool((local < clusters[labels]).all())
    assert torch.equal(ids, update(embeddings, labels, clusters, rule))


@pytest.mark.parametrize("rule", ["balanced", "balanced_official"])
def test_balanced_sizes_differ_by_at_most_one(rule):
    embeddings, labels, clusters = long_tailed()
    ids = update(embeddings, labels, clusters, rule)
    for label in (0, 1, 3):
        sizes = ids[labels == label].unique(return_counts=True)[1]
        assert len(sizes) == int(clusters[label]) and int(sizes.max() - sizes.min()) <= 1


def test_the_upper_bound_of_the_paper_holds():
    embeddings, labels, clusters = long_tailed()
    ids = update(embeddings, labels, clusters, "balanced_paper")
    for label in (0, 1, 3):
        count = int((labels == label).sum())
        assert int(ids[labels == label].bincount().max()) <= -(-count // int(clusters[label]))


@pytest.mark.parametrize("rule", RULES)
def test_images_are_grouped_by_label_not_by_position(rule):
    embeddings, labels, clusters = long_tailed()
    rank_in_class = torch.cat([torch.arange(count) for count in labels.bincount().tolist()])
    mixed = rank_in_class.argsort(stable=True)  # classes in turn, the order inside each class kept: the same draws
    ids = update(embeddings, labels, clusters, rule)
    assert torch.equal(update(embeddings[mixed], labels[mixed], clusters, rule), ids[mixed])


@pytest.mark.parametrize("rule", RULES)
def test_classes_of_one_subclass_draw_nothing(rule):
    embeddings, labels, _ = long_tailed()
    random, state = generator(), np.random.RandomState(0)
    before = random.get_state(), state.get_state()[1:3]
    ids = update_subclasses(embeddings, labels, torch.ones(5, dtype=torch.int64), rule, random, state)
    assert torch.equal(ids, labels)
    assert torch.equal(random.get_state(), before[0])
    assert np.array_equal(state.get_state()[1], before[1][0]) and state.get_state()[2] == before[1][1]


def test_the_generator_decides_the_starts():
    embeddings, labels, clusters = long_tailed()
    assert not torch.equal(
        update(embeddings, labels, clusters, "balanced", 0), update(embeddings, labels, clusters, "balanced", 1)
    )


def test_half_precision_embeddings_are_clustered_in_single_precision():
    embeddings, labels, clusters = long_tailed()
    half = F.normalize(embeddings, dim=1).bfloat16()
    assert torch.equal(update(half, labels, clusters, "balanced"), update(half.float(), labels, clusters, "balanced"))


@pytest.mark.parametrize("rule", RULES)
def test_refuses_what_cannot_be_clustered(rule):
    embeddings, labels, clusters = long_tailed()
    with pytest.raises(ValueError, match="between 1 and 9 clusters"):
        update(embeddings, labels, torch.tensor([1, 1, 1, 10, 1]), rule)
    embeddings[3, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        update(embeddings, labels, clusters, rule)


def test_refuses_an_unknown_rule_and_a_missing_state():
    embeddings, labels, clusters = long_tailed()
    with pytest.raises(
        SettingError, match="one of balanced, balanced_paper, balanced_official, kmeans_official, not 'even'"
    ):
        update(embeddings, labels, clusters, "even")
    with pytest.raises(SettingError, match="rule is one of"):
        cluster(embeddings, torch.arange(2), "even", generator())
    with pytest.raises(ValueError, match="numpy_state"):
        update_subclasses(embeddings, labels, clusters, "kmeans_official", generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", RULES)
def test_is_the_same_on_a_gpu(rule):
    embeddings, labels, clusters = long_tailed()
    there = update(embeddings.cuda(), labels.cuda(), clusters.cuda(), rule)
    assert there.is_cuda and torch.equal(there.cpu(), update(embeddings, labels, clusters, rule))
