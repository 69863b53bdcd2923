"""The energy of targets and the authors' search for them: published values, and what is better."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden

from lt_bench.geometry import targets
from lt_bench.geometry.simplex import far_apart, simplex
from lt_bench.geometry.targets import energy, searched


@pytest.mark.parametrize("case", range(3))
def test_energy_and_its_gradient_are_the_authors_and_targets_have_less(case):
    values = golden("tsc_targets", f"c{case}")
    points, temperature = values["x"].double().requires_grad_(), float(values["temperature"])
    found = energy(points, temperature)
    torch.testing.assert_close(found.detach(), values["loss"], rtol=1e-8, atol=0.0)
    (gradient,) = torch.autograd.grad(found, points)
    torch.testing.assert_close(gradient, values["grad_x"], rtol=1e-5, atol=1e-9)
    without = energy(points, temperature, itself=False)
    torch.testing.assert_close(without.detach(), values["loss_without_self"], rtol=1e-8, atol=0.0)
    count, dim = points.shape
    torch.manual_seed(0)
    ours = energy(far_apart(count, dim), temperature)
    assert ours < values["loss"]
    if count <= dim + 1:
        torch.testing.assert_close(ours, values["loss_regular_simplex"], rtol=1e-9, atol=0.0)


def test_the_search_of_the_authors_step_by_step():
    case = golden("tsc_targets")
    start, temperature, steps = case["adam_x0"], float(case["adam_temperature"]), int(case["adam_steps"])
    found = searched(*start.shape, start, steps, temperature)
    torch.testing.assert_close(found, case["adam_targets"], rtol=1e-3, atol=1e-4)
    for number in (1, 2, 40, steps):  # the best of so many steps is the last, which its energy is that of
        best = searched(*start.shape, start, number, temperature)
        assert float(energy(best, temperature)) == pytest.approx(float(case["adam_losses"][number - 1]), rel=1e-6)
    assert float(case["adam_losses"].min()) == float(case["adam_losses"][-1])
    assert energy(far_apart(12, 6), temperature) < energy(case["adam_targets"].double(), temperature)


def test_the_best_directions_are_kept_and_the_start_stays(monkeypatch):
    monkeypatch.setattr(targets, "RATE", 0.5)  # with which nothing is better than the simplex that it starts at
    start = far_apart(5, 6)
    before = start.clone()
    found = searched(5, 6, start, 3)
    torch.testing.assert_close(found, F.normalize(before, dim=1))
    assert torch.equal(start, before) and not found.requires_grad
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(searched(5, 6, steps=3))
    assert torch.equal(*drawn)


def test_ten_targets_are_the_authors_file():
    case = golden("tsc_targets")
    torch.manual_seed(0)
    points = simplex(torch.randn(10, 10, dtype=torch.float64))
    assert float(energy(points)) == pytest.approx(float(case["shipped_10_10_loss"]), abs=1e-5)
    assert float(energy(points)) == pytest.approx(math.log(math.exp(1 / 0.07) + 9 * math.exp(-1 / 0.63)), rel=1e-12)
    without = float(energy(points, itself=False))
    assert without == pytest.approx(float(case["shipped_10_10_loss_without_self"]), abs=2e-3)
    cosines = (points @ points.T)[~torch.eye(10, dtype=torch.bool)]
    quantiles = case["shipped_10_10_cosine_quantiles_01_25_50_75_99"]
    torch.testing.assert_close(
        cosines.quantile(torch.tensor([0.5], dtype=torch.float64)), quantiles[2:3], rtol=0.0, atol=2e-4
    )
    lowest, highest, mean, deviation = case["shipped_10_10_cosine_min_max_mean_std"].tolist()
    assert lowest - 2e-4 < float(cosines.min()) <= float(cosines.max()) < highest + 2e-4 and deviation < 1e-4
    assert float(cosines.mean()) == pytest.approx(mean, abs=2e-4)
    assert float(points.mean(0).norm()) < float(case["shipped_10_10_centroid_norm"])


@pytest.mark.slow
def test_a_thousand_targets_are_better_than_the_authors_file():
    case = golden("tsc_targets")
    points = far_apart(1000, 128)
    assert float(energy(points)) < float(case["shipped_1000_128_loss"])
    assert float(energy(points, itself=False)) < float(case["shipped_1000_128_loss_without_self"])
    cosines = (points @ points.T)[~torch.eye(1000, dtype=torch.bool)]
    lowest, highest, mean, deviation = case["shipped_1000_128_cosine_min_max_mean_std"].tolist()
    assert lowest < float(cosines.min()) and float(cosines.max()) < highest
    assert float(cosines.std()) < deviation and float(cosines.mean()) == pytest.approx(mean, abs=1e-4)
    highest_ones = cosines.quantile(torch.tensor([0.75, 0.99], dtype=torch.float64))
    assert (highest_ones < case["shipped_1000_128_cosine_quantiles_01_25_50_75_99"][3:]).all()
    assert float(case["shipped_1000_128_centroid_norm"]) < 1e-5
