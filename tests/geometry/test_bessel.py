"""Bessel functions: golden vectors, 40-digit arithmetic, closed forms, both precisions, and the authors' recurrence."""

import itertools
import math
from functools import cache

import mpmath
import pytest
import torch
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden
from helpers.sampling import each_value_once
from scipy.special import ive

from lt_bench.geometry.bessel import log_bessel_change, official_log_bessel

DIMENSIONS = [1, 2, 3, 5, 8, 15, 16, 31, 32, 33, 64, 128, 1024, 2048]
KAPPAS = [0.01, 0.5, 3.0, 10.0, 30.0, 100.0, 606.0, 3e3, 2e4, 1e5, 1e6]
ACCURACY = {torch.float64: 3e-8, torch.float32: 4e-7}  # relative to max(1, |value|)
RATIO_ACCURACY = {torch.float64: 1e-7, torch.float32: 4e-7}  # relative


@cache  # asked for often, and slow
def bessel(order, x):
    """The Bessel function in the forty digits that every test here has."""
    return mpmath.besseli(order, x, maxterms=10**6)


def exact(order, x):
    """g(x) by 40-digit arithmetic, also at 0."""
    order, x = mpmath.mpf(order), mpmath.mpf(x)
    if x == 0:
        return -order * mpmath.log(2) - mpmath.loggamma(order + 1)
    return mpmath.log(bessel(order, x)) - order * mpmath.log(x)


def value_and_ratio(x, order):
    """g(x) as a change from 0, where it has a closed form, and its derivative."""
    x = x.clone().requires_grad_()
    change = log_bessel_change(torch.zeros_like(x), x.square(), order)
    (ratio,) = torch.autograd.grad(change.sum(), x)
    return change.detach() - order * math.log(2) - math.lgamma(order + 1), ratio


@pytest.fixture(autouse=True)
def forty_digits():
    with mpmath.workdps(40):
        yield


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_equals_the_golden_exact_values(case):
    vectors = golden("proco_bessel", case)
    kappa, order = vectors["kappa"], int(vectors["dim"]) / 2 - 1
    value, ratio = value_and_ratio(kappa, order)
    log_ive = value + order * kappa.log() - kappa
    torch.testing.assert_close(log_ive, vectors["log_ive_exact"], rtol=0, atol=1e-6)
    torch.testing.assert_close(ratio, vectors["ratio_exact"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_the_recurrence_equals_the_golden_official_values(case):
    vectors = golden("proco_bessel", case)
    kappa, order = vectors["kappa"].requires_grad_(), int(vectors["dim"]) // 2 - 1
    value = official_log_bessel(kappa, order)
    (ratio,) = torch.autograd.grad(value.sum(), kappa)
    log_ive = (value + order * kappa.log() - kappa).detach()
    torch.testing.assert_close(log_ive, vectors["log_ive_official"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ratio, vectors["ratio_official"].clamp(max=1), rtol=1e-9, atol=1e-9)
    assert bool((vectors["ratio_official"] > 1).any()) == (case != "c2")  # so that the cut at 1 is seen


@pytest.mark.parametrize(("dim", "dtype"), each_value_once(itertools.product(DIMENSIONS, ACCURACY)))
def test_values_and_ratios_of_every_order(dim, dtype):
    order, kappa = dim / 2 - 1, torch.tensor(KAPPAS, dtype=dtype)
    values, ratios = value_and_ratio(kappa, order)
    for x, value, ratio in zip(kappa.tolist(), values.tolist(), ratios.tolist(), strict=True):
        expected = float(exact(order, x))
        assert value == pytest.approx(expected, rel=ACCURACY[dtype], abs=ACCURACY[dtype])
        true_ratio = float(bessel(order + 1, mpmath.mpf(x)) / bessel(order, mpmath.mpf(x)))
        assert ratio == pytest.approx(true_ratio, rel=RATIO_ACCURACY[dtype])
        assert 0 < ratio < 1 or dim == 1  # tanh is 1 in floating point


@pytest.mark.parametrize(("dim", "dtype"), each_value_once(itertools.product(DIMENSIONS, ACCURACY)))
def test_changes_have_no_cancellation(dim, dtype):
    """Changes as ProCo has them, at temperature 0.1: g differs by up to 15 where its value is up to a million."""
    order = dim / 2 - 1
    kappa = torch.tensor(KAPPAS, dtype=dtype)[:, None]
    change = 20 * kappa * torch.tensor([-0.9, -0.3, 0.0, 0.2, 1.0], dtype=dtype) + 100
    found = log_bessel_change(kappa.square(), change, order)
    assert found.dtype == dtype
    for x, row, changes in zip(kappa[:, 0].tolist(), found.tolist(), change.tolist(), strict=True):
        for value, amount in zip(row, changes, strict=True):
            expected = exact(order, mpmath.sqrt(mpmath.mpf(x) ** 2 + amount)) - exact(order, x)
            assert value == pytest.approx(float(expected), rel=ACCURACY[dtype], abs=ACCURACY[dtype])


@pytest.mark.parametrize("dim", [4, 7, 32, 129])
def test_equals_scipy_where_that_has_no_underflow(dim):
    order, kappa = dim / 2 - 1, torch.linspace(30, 2000, 50, dtype=torch.float64)
    value, ratio = value_and_ratio(kappa, order)
    expected = torch.from_numpy(ive(order, kappa.numpy())).log() + kappa - order * kappa.log()
    torch.testing.assert_close(value, expected, rtol=0, atol=3e-8)
    true_ratio = torch.from_numpy(ive(order + 1, kappa.numpy()) / ive(order, kappa.numpy()))
    torch.testing.assert_close(ratio, true_ratio, rtol=0, atol=3e-8)


def test_circle_pair_and_sphere_have_closed_forms():
    x = torch.linspace(0.1, 20, 30, dtype=torch.float64)
    for order, closed in ((-0.5, x.cosh().log()), (0.5, (x.sinh() / x).log())):
        value, _ = value_and_ratio(x, order)
        torch.testing.assert_close(value, closed + 0.5 * math.log(2 / math.pi), rtol=0, atol=3e-8)


@pytest.mark.parametrize("order", [0, 3.5, 14.5, 15, 63])
def test_from_zero_and_to_zero(order):
    zero, x = torch.zeros(1, dtype=torch.float64), torch.full((1,), 5.0, dtype=torch.float64)
    up = log_bessel_change(zero, x.square(), order)
    torch.testing.assert_close(log_bessel_change(x.square(), -x.square(), order), -up)
    slope = zero.clone().requires_grad_()
    log_bessel_change(zero, slope, order).backward()  # g = g(0) + x^2 / (4 (order + 1)) + ...
    torch.testing.assert_close(slope.grad, torch.full_like(zero, 0.25 / (order + 1)), rtol=1e-7, atol=0)


@pytest.mark.parametrize("order", [0, 6.5, 15, 63])
def test_gradients_are_those_of_the_function(order):
    generator = torch.Generator().manual_seed(0)
    squared = (100 * torch.rand(3, generator=generator, dtype=torch.float64)).requires_grad_()
    change = (50 * torch.rand(2, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *both: log_bessel_change(*both, order), (squared, change))


def test_the_recurrence_takes_its_logarithm_in_the_precision_of_its_argument():
    single = torch.linspace(50, 900, 40)
    double = single.double()
    found, wide = official_log_bessel(single, 511), official_log_bessel(double, 511)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found - wide, 511 * (double.log() - single.log().double()), rtol=0, atol=1e-9)
    assert 2e-5 < float((found - wide).abs().max()) < 4e-4  # and 1e-12 with a logarithm in double precision


@pytest.mark.parametrize("order", [2, 63])
def test_reads_nothing_on_the_host_and_does_the_same_for_any_shape(order):
    counts = []
    for shape in ((3, 2), (40, 30)):
        change = torch.rand(shape).requires_grad_()
        with HostReads() as reads, OpCount() as kernels:
            log_bessel_change(torch.rand(shape[1]), change, order).sum().backward()
            official_log_bessel(change, order).sum().backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]
