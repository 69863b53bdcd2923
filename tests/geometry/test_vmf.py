"""Class distributions on the sphere: running means, concentrations, and what absent classes and single images give."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount

from lt_bench.errors import SettingError
from lt_bench.geometry.vmf import MAX_KAPPA, mean_direction_and_kappa, random_means, update_means

LABELS = torch.tensor([0, 2, 0, 0, 2, 4, 0, 2, 0, 4, 4, 1])  # class 3 is absent, class 1 has one feature


def statistics(classes=5, dim=6, dtype=torch.float64):
    means = random_means(classes, dim, torch.Generator().manual_seed(0)).to(dtype)
    return means.repeat(2, 1, 1), torch.zeros(2, classes, dtype=dtype)


def unit_features(count=12, dim=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=dtype), dim=1)


@pytest.mark.parametrize("sizes", [[12], [5, 7], [1] * 12])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_running_means_are_the_plain_means_of_all_features(sizes, dtype, atol):
    (means, counts), features = statistics(dtype=dtype), unit_features(dtype=dtype)
    start = means.clone()
    for rows, labels in zip(features.split(sizes), LABELS.split(sizes), strict=True):
        update_means(means, counts, rows, labels)
    assert counts[0].tolist() == [5, 1, 3, 0, 3] == counts[1].tolist()
    for label in (0, 1, 2, 4):
        expected = features[LABELS == label].mean(0)
        torch.testing.assert_close(means[:, label], expected.expand(2, -1), rtol=0, atol=atol)
    assert torch.equal(means[:, 3], start[:, 3])


def test_sets_with_other_counts_weigh_the_batch_otherwise():
    (means, counts), features = statistics(), unit_features()
    counts[0] = torch.tensor([3.0, 0.0, 9.0, 4.0, 3.0])
    start = means[0].clone()
    update_means(means, counts, features, LABELS)
    batch = torch.stack([features[LABELS == label].sum(0) for label in range(5)])
    sizes = torch.bincount(LABELS, minlength=5).double()
    previous = torch.tensor([3.0, 0.0, 9.0, 4.0, 3.0], dtype=torch.float64)
    expected = (previous[:, None] * start + batch) / (previous + sizes).clamp(min=1)[:, None]
    torch.testing.assert_close(means[0], expected)
    assert torch.equal(counts[0], previous + sizes)


def test_the_order_of_a_batch_does_not_matter():
    first, second, order = statistics(), statistics(), torch.randperm(12, generator=torch.Generator().manual_seed(2))
    update_means(*first, unit_features(), LABELS)
    update_means(*second, unit_features()[order], LABELS[order])
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(("estimator", "numerator"), [("code", 6 * 0.4), ("sra", 0.4 * (6 - 0.16))])
def test_concentration_is_the_formula_of_the_length(estimator, numerator):
    means = 0.4 * unit_features(3)
    directions, kappa = mean_direction_and_kappa(means, estimator)
    torch.testing.assert_close(kappa, torch.full((3,), numerator / (1 - 0.16), dtype=torch.float64))
    torch.testing.assert_close(directions, unit_features(3))


@pytest.mark.parametrize("estimator", ["code", "sra"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_lengths_of_one_and_more_have_the_largest_concentration_and_none_has_zero(estimator, dtype):
    lengths = torch.tensor([0.0, 0.5, 1 - 1e-6, 1.0, 1 + 1e-6, 1.2], dtype=dtype)
    means = lengths[:, None] * torch.eye(6, dtype=dtype)
    directions, kappa = mean_direction_and_kappa(means, estimator)
    assert kappa[0] == 0 and 0 < kappa[1] < 10 and kappa[2:].tolist() == [MAX_KAPPA] * 4
    torch.testing.assert_close(directions[1:], torch.eye(6, dtype=dtype)[1:])
    assert directions[0].tolist() == [0.0] * 6


def test_the_concentration_of_a_sample_is_found():
    generator = torch.Generator().manual_seed(0)
    kappa, count = 8.0, 200_000
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    along = 1 + (uniform + (1 - uniform) * torch.tensor(-2 * kappa).exp()).log() / kappa  # inverse distribution, D = 3
    around = F.normalize(torch.randn(count, 2, generator=generator, dtype=torch.float64), dim=1)
    sample = torch.cat([along[:, None], (1 - along.square()).sqrt()[:, None] * around], dim=1)
    direction, found = mean_direction_and_kappa(sample.mean(0, keepdim=True), "sra")
    assert float(found) == pytest.approx(kappa, rel=0.05) and float(direction[0, 0]) > 0.9999


def test_random_means_point_anywhere_with_the_authors_length():
    means = random_means(500, 64, torch.Generator().manual_seed(3))
    torch.testing.assert_close(means.norm(dim=1), torch.full((500,), 0.9))
    assert float(means.mean(0).norm()) < 0.1
    assert torch.equal(means, random_means(500, 64, torch.Generator().manual_seed(3)))
    _, kappa = mean_direction_and_kappa(means)
    torch.testing.assert_close(kappa, torch.full((500,), 64 * 0.9 / 0.19), rtol=1e-5, atol=0)


def test_half_precision_features_join_statistics_of_single_precision():
    means, counts = statistics(dtype=torch.float32)
    update_means(means, counts, unit_features().bfloat16(), LABELS)
    assert means.dtype == torch.float32 and bool(means.isfinite().all())


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for features, classes in ((12, 5), (48, 40)):
        with HostReads() as reads, OpCount() as kernels:
            means, count = statistics(classes)
            update_means(means, count, unit_features(features), torch.arange(features) % 5)
            mean_direction_and_kappa(means[0])
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


def test_an_unknown_estimator_is_refused():
    with pytest.raises(SettingError, match="estimator is code or sra, not 'guess'"):
        mean_direction_and_kappa(torch.zeros(2, 3), "guess")
