import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import PRECISIONS, assert_loss_and_gradient, golden
from torch import Tensor

from lt_bench.losses.supcon import supcon


def unit_features(images: int, views: int = 2, width: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(images + 10 * views)
    return F.normalize(torch.randn(images, views, width, generator=generator, dtype=dtype), dim=2)


def by_loops(features: Tensor, labels: list[int], temperature: float, base_temperature: float) -> float:
    images, views, _ = features.shape
    anchors = [(image, view) for image in range(images) for view in range(views)]
    total = 0.0
    for anchor in anchors:
        others = [other for other in anchors if other != anchor]
        scores = {other: float(features[anchor] @ features[other]) / temperature for other in others}
        denominator = math.log(sum(math.exp(score) for score in scores.values()))
        positives = [other for other in others if labels[other[0]] == labels[anchor[0]]]
        total += sum(scores[other] - denominator for other in positives) / len(positives)
    return -temperature / base_temperature * total / len(anchors)


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize("file", ["sbcl_supcon", "sbcl_simclr"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_equals_the_golden_loss_and_gradient(file, case, dtype, tolerance):
    vectors = golden(file, case)
    features = vectors["features"].to(dtype).requires_grad_()
    labels = vectors["labels"] if file == "sbcl_supcon" else None
    loss = supcon(features, labels, float(vectors["temperature"]), float(vectors["base_temperature"]))
    assert_loss_and_gradient(loss, features, vectors, tolerance)


@pytest.mark.parametrize("views", [2, 3])
def test_equals_the_equations_written_as_loops(views):
    features, labels = unit_features(5, views), [7, 3, 7, 7, 0]
    loss = supcon(features, torch.tensor(labels), 0.2, 0.1)
    assert float(loss) == pytest.approx(by_loops(features, labels, 0.2, 0.1), rel=1e-12)


def test_does_not_depend_on_the_order_of_images_or_views_or_the_names_of_classes():
    features, labels = unit_features(9), torch.tensor([0, 1, 1, 2, 0, 3, 1, 2, 1])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    loss = supcon(features, labels, 0.1, 0.1)
    torch.testing.assert_close(supcon(features[order].flip(1), 100 - 7 * labels[order], 0.1, 0.1), loss)


def test_without_labels_is_the_loss_of_all_distinct_classes():
    features = unit_features(6)
    torch.testing.assert_close(supcon(features, None, 0.1, 0.1), supcon(features, torch.arange(6), 0.1, 0.1))


def test_one_image_has_no_loss():
    assert float(supcon(unit_features(1), torch.tensor([4]), 0.1, 0.1)) == pytest.approx(0, abs=1e-14)


def test_gradient_is_that_of_the_function():
    features, labels = unit_features(4).requires_grad_(), torch.tensor([0, 1, 0, 0])
    assert torch.autograd.gradcheck(lambda rows: supcon(rows, labels, 0.3, 0.1), features)


def test_computes_in_single_precision_under_autocast():
    features, labels = unit_features(16, dtype=torch.float32).bfloat16(), torch.arange(16) % 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supcon(features.requires_grad_(), labels, 0.05, 0.1)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.dtype == torch.float32 and bool(gradient.isfinite().all())
    torch.testing.assert_close(loss, supcon(features.detach().float(), labels, 0.05, 0.1))


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for images in (4, 32):
        features, labels = unit_features(images).requires_grad_(), torch.arange(images)
        with HostReads() as reads, OpCount() as kernels:
            supcon(features, labels, 0.1, 0.1).backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


def test_refuses_a_single_view():
    with pytest.raises(ValueError, match="two views"):
        supcon(unit_features(3, views=1), None, 0.1, 0.1)
