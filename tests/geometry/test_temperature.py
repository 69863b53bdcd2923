import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden

from lt_bench.geometry.temperature import class_concentration, class_temperatures


def unit_rows(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(count)), dim=1)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_equals_the_golden_concentrations_and_temperatures(case):
    vectors = golden("sbcl_cluster_update", case)
    clusters, temperature = vectors["clusters_per_class"], float(vectors["temperature"])
    phi = class_concentration(vectors["features"], vectors["labels"].long(), len(clusters), 10, epsilon=1e-6)
    torch.testing.assert_close(phi, vectors["phi"], rtol=1e-4, atol=0)
    linear = class_temperatures(phi, clusters, temperature, "linear_clipped")
    torch.testing.assert_close(linear, vectors["tau2_official"], rtol=1e-4, atol=0)
    exponential = class_temperatures(phi, clusters, temperature, "exponential")
    torch.testing.assert_close(exponential, vectors["tau2_paper_alpha10"], rtol=1e-4, atol=0)


def test_concentration_equals_the_equation_written_as_a_loop():
    rows, labels = unit_rows(7), [0, 2, 0, 2, 2, 0, 0]
    phi = class_concentration(rows, torch.tensor(labels), 3, 10).tolist()
    for label in (0, 2):
        members = rows.double()[[index for index, value in enumerate(labels) if value == label]]
        distance = sum(float((row - members.mean(0)).norm()) for row in members) / len(members)
        assert phi[label] == pytest.approx(distance / math.log(len(members) + 10), rel=1e-12)


def test_a_class_without_images_leaves_the_others_as_they_are():
    rows, labels, clusters = unit_rows(12), torch.tensor([0, 2, 3] * 4), torch.tensor([2, 2, 2, 1])
    phi = class_concentration(rows, labels, 4, 10)
    assert phi.isnan().tolist() == [False, True, False, False]
    without = class_concentration(rows, torch.tensor([0, 1, 2] * 4), 3, 10)
    for law in ("linear_clipped", "exponential"):
        temperatures = class_temperatures(phi, clusters, 0.1, law)
        assert temperatures[1] == 0.1
        expected = class_temperatures(without, torch.tensor([2, 2, 1]), 0.1, law)
        torch.testing.assert_close(temperatures[[0, 2, 3]], expected)


def test_a_class_of_one_image_has_only_the_epsilon():
    row = unit_rows(1)
    assert float(class_concentration(row, torch.tensor([0]), 1, 10)) == pytest.approx(0, abs=1e-15)
    tiny = class_concentration(row, torch.tensor([0]), 1, 10, epsilon=1e-6)
    assert float(tiny) == pytest.approx(2e-6 / math.log(11), rel=1e-6)


def test_laws_and_the_single_subclass():
    phi = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.9], dtype=torch.float64)
    clusters = torch.tensor([3, 2, 4, 1, 2])
    clipped = np.clip(phi.numpy(), *np.percentile(phi.numpy(), [20, 80]))
    linear = class_temperatures(phi, clusters, 0.1, "linear_clipped")
    np.testing.assert_allclose(linear[[0, 1, 2, 4]], 0.1 * (clipped / clipped.mean())[[0, 1, 2, 4]], rtol=1e-12)
    exponential = class_temperatures(phi, clusters, 0.1, "exponential")
    np.testing.assert_allclose(
        exponential[[0, 1, 2, 4]], 0.1 * np.exp(phi.numpy() / phi.numpy().mean())[[0, 1, 2, 4]], rtol=1e-12
    )
    assert linear[3] == 0.1 and exponential[3] == 0.1


def test_collapsed_embeddings_keep_finite_temperatures():
    phi = class_concentration(torch.ones(6, 4) / 2, torch.tensor([0, 1] * 3), 2, 10)
    linear = class_temperatures(phi, torch.tensor([2, 2]), 0.1, "linear_clipped")
    torch.testing.assert_close(linear, torch.full((2,), 0.1, dtype=torch.float64))


def test_refuses_an_unknown_law():
    with pytest.raises(ValueError, match="linear_clipped or exponential"):
        class_temperatures(torch.ones(2), torch.ones(2), 0.1, "cosine")
