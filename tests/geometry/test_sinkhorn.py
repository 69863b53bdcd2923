"""Sinkhorn's assignment: golden values, marginals, both forms, stopping early."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden

from lt_bench.errors import SettingError
from lt_bench.geometry import sinkhorn as module
from lt_bench.geometry.sinkhorn import sinkhorn


def example(images=20, classes=6, dtype=torch.float64, peak=2.0):
    generator = torch.Generator().manual_seed(images)
    scores = torch.randn(images, classes, generator=generator, dtype=dtype)
    prior = torch.rand(classes, generator=generator, dtype=dtype)
    scores[torch.arange(images), torch.arange(images) % classes] += peak
    return F.normalize(scores, dim=1), prior / prior.sum()


def diagonals(scores, prior, epsilon, iterations):
    """The equations as they are written, with diagonal matrices."""
    kernel = torch.exp(scores.T / epsilon)
    count = len(scores)
    rows = torch.full((count,), 1 / count, dtype=scores.dtype)
    for _ in range(iterations):
        columns = prior / (kernel @ rows)
        rows = (1 / count) / (kernel.T @ columns)
    return count * (torch.diag(columns) @ kernel @ torch.diag(rows)).T


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_equals_the_golden_assignment(case, dtype, tolerance):
    vectors = golden("gh_sinkhorn", case)
    scores = vectors["scores"].to(dtype)
    prior = vectors["prior"] if len(vectors["prior"]) else torch.ones(scores.shape[1])
    found = sinkhorn(scores, prior, float(vectors["epsilon"]), int(vectors["iterations"]))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), vectors["assignment"], rtol=0, atol=tolerance)
    torch.testing.assert_close(found.double().mean(0), vectors["class_mass"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("iterations", [1, 2, 7])
@pytest.mark.parametrize("epsilon", [0.05, 0.4])
def test_equals_the_equations_at_every_count(iterations, epsilon):
    scores, prior = example()
    expected = diagonals(scores, prior, epsilon, iterations)
    torch.testing.assert_close(sinkhorn(scores, prior, epsilon, iterations), expected)


def test_rows_sum_to_one_at_once_and_columns_to_the_prior_in_the_end():
    scores, prior = example()
    for iterations in (1, 2000):
        found = sinkhorn(scores, prior, 0.1, iterations)
        torch.testing.assert_close(found.sum(1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close(found.mean(0), prior, rtol=0, atol=1e-9)


def test_a_direction_without_prior_receives_nothing_in_both_forms():
    scores, prior = example()
    prior[2] = 0
    for epsilon in (0.05, 0.01):
        found = sinkhorn(scores, prior, epsilon, 5)
        assert not found[:, 2].any() and bool(found.isfinite().all())


def test_the_logarithmic_form_is_the_same(monkeypatch):
    scores, prior = example()
    plain = sinkhorn(scores, prior, 0.05, 30)
    monkeypatch.setattr(module, "SAFE_EXPONENT", 0.0)
    torch.testing.assert_close(sinkhorn(scores, prior, 0.05, 30), plain)


def test_small_epsilons_in_single_precision():
    scores, prior = example()
    for epsilon in (0.034, 0.03, 1e-3):
        found = sinkhorn(scores.float(), prior.float(), epsilon, 50)
        expected = sinkhorn(scores, prior, epsilon, 50)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-3)


def test_opposite_scores_stay_finite_at_the_last_epsilon_of_the_fast_form():
    scores = torch.cat([torch.eye(8), -torch.eye(8)]).repeat(8, 1)
    prior = torch.tensor([1.0, 1e-30, *[1e-3] * 6])
    epsilon = 2 / module.SAFE_EXPONENT
    found = sinkhorn(scores, prior, epsilon)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found.double(), sinkhorn(scores.double(), prior.double(), epsilon), rtol=0, atol=1e-4)


def test_the_sum_of_the_prior_and_the_order_of_images_do_not_matter():
    scores, prior = example()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(sinkhorn(scores[order], 7 * prior, 0.05, 30), sinkhorn(scores, prior, 0.05, 30)[order])


@pytest.mark.parametrize("epsilon", [0.1, 0.01])
def test_a_tolerance_ends_the_updates_when_it_is_met_and_no_sooner(epsilon):
    scores, prior = example()
    tolerance = 1e-2
    errors = [
        float((sinkhorn(scores, prior, epsilon, count).mean(0) - prior).abs().sum()) for count in range(10, 600, 10)
    ]
    first = next(number for number, error in enumerate(errors) if error <= tolerance)
    assert 0 < first < len(errors)
    stopped = sinkhorn(scores, prior, epsilon, 600, tolerance)
    assert torch.equal(stopped, sinkhorn(scores, prior, epsilon, 10 * (first + 1)))
    # at the latest after the given number
    assert torch.equal(sinkhorn(scores, prior, epsilon, 10, tolerance), sinkhorn(scores, prior, epsilon, 10))


def test_a_tolerance_ends_the_updates_at_small_epsilons_in_single_precision():
    scores, prior = (one.float() for one in example(peak=4.0))
    stopped, last = sinkhorn(scores, prior, 0.002, 5000, 1e-2), sinkhorn(scores, prior, 0.002, 5000)
    assert float((stopped.mean(0) - prior).abs().sum()) < 1.1e-2
    assert not torch.equal(stopped, last)


def test_no_gradient_and_no_reduced_precision():
    scores, prior = example(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sinkhorn(scores.requires_grad_(), prior, 0.05, 30)
    assert not found.requires_grad
    assert torch.equal(found, sinkhorn(scores, prior, 0.05, 30))


def test_reads_nothing_on_the_host_and_four_kernels_an_update():
    scores, prior = example()
    counts = []
    for iterations in (1, 11):
        with HostReads() as reads, OpCount() as kernels:
            sinkhorn(scores, prior, 0.05, iterations)
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[1] - counts[0] == 10 * 4


@pytest.mark.parametrize("settings", [{"epsilon": 0.0}, {"iterations": 0}, {"tolerance": 0.0}])
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))} is (above 0|at least 1)"):
        sinkhorn(*example(), **{"epsilon": 0.05, **settings})
