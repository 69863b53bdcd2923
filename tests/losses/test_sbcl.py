import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import PRECISIONS, assert_loss_and_gradient, golden
from torch import Tensor

from lt_bench.losses.sbcl import subclass_balancing
from lt_bench.losses.supcon import supcon

LABELS = torch.tensor([0, 0, 1, 0, 2, 1, 0, 0, 4])  # class 3 is absent, 2 and 4 have one image
SUBCLASSES = torch.tensor([0, 1, 10, 0, 20, 11, 2, 0, 40])
TEMPERATURES = torch.tensor([0.3, 0.08, 0.1, 0.2, 0.15], dtype=torch.float64)


def unit_features(images: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(images)
    return F.normalize(torch.randn(images, 2, 6, generator=generator, dtype=dtype), dim=2)


def ours(features: Tensor, labels: Tensor, subclasses: Tensor, beta: float = 0.25, temperatures=TEMPERATURES) -> Tensor:
    return subclass_balancing(features, labels, subclasses, 0.1, temperatures, beta, 0.07)


def by_loops(features: Tensor, labels: Tensor, subclasses: Tensor, beta: float) -> float:
    images = len(labels)
    anchors = [(image, view) for image in range(images) for view in range(2)]

    def term(anchor, positives, candidates, temperature):
        score = {other: float(features[anchor] @ features[other]) / temperature for other in candidates}
        denominator = math.log(sum(math.exp(value) for value in score.values()))
        return sum(score[other] - denominator for other in positives) / len(positives)

    total = 0.0
    for anchor in anchors:
        image, view = anchor
        partner = (image, 1 - view)
        others = [other for other in anchors if other != anchor]
        near = [other for other in others if subclasses[other[0]] == subclasses[image]]
        far = [other for other in others if labels[other[0]] == labels[image] and other not in near] + [partner]
        candidates = [other for other in others if other not in near] + [partner]
        first = term(anchor, near, others, 0.1)
        second = term(anchor, far, candidates, float(TEMPERATURES[labels[image]]))
        total += -(0.1 / 0.07) * first - beta * second
    return total / len(anchors)


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_bi_granularity_equals_the_golden_loss_and_gradient(case, dtype, tolerance):
    vectors = golden("sbcl_rank", case)
    features = vectors["features"].to(dtype).requires_grad_()
    loss = subclass_balancing(
        features,
        vectors["labels"],
        vectors["subclass"],
        float(vectors["tau1"]),
        vectors["tau2_per_class"].float(),  # rounded to single precision when the vectors were made
        float(vectors["beta"]),
        float(vectors["base_temperature"]),
    )
    assert_loss_and_gradient(loss, features, vectors, tolerance)


@pytest.mark.parametrize("case", ["a", "b", "c"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_one_temperature_equals_the_golden_loss_and_gradient(case, dtype, tolerance):
    vectors = golden("sbcl_ccl", case)
    features = vectors["features"].to(dtype).requires_grad_()
    temperature, beta, base = (float(vectors[name]) for name in ("temperature", "beta", "base_temperature"))
    near = supcon(features, vectors["subclass"], temperature, base)
    loss = near + beta * supcon(features, vectors["labels"], temperature, temperature)
    assert_loss_and_gradient(loss, features, vectors, tolerance)


@pytest.mark.parametrize("beta", [0.0, 0.25, 2.0])
def test_equals_the_equations_written_as_loops(beta):
    features = unit_features(9)
    expected = by_loops(features, LABELS, SUBCLASSES, beta)
    assert float(ours(features, LABELS, SUBCLASSES, beta)) == pytest.approx(expected, rel=1e-12)


def test_does_not_depend_on_the_order_of_images_or_views():
    features, order = unit_features(9), torch.randperm(9, generator=torch.Generator().manual_seed(1))
    moved = ours(features[order].flip(1), LABELS[order], SUBCLASSES[order])
    torch.testing.assert_close(moved, ours(features, LABELS, SUBCLASSES))


def test_classes_of_one_image_leave_the_loss_without_labels_as_the_far_term():
    features, distinct = unit_features(5), torch.arange(5)
    temperatures = torch.full((5,), 0.1)
    far = ours(features, distinct, distinct, 1.0, temperatures) - ours(features, distinct, distinct, 0.0, temperatures)
    torch.testing.assert_close(far, supcon(features, None, 0.1, 0.1))


def test_one_subclass_for_all_leaves_nothing_to_the_far_term():
    features, same = unit_features(5).requires_grad_(), torch.zeros(5, dtype=torch.int64)
    far = ours(features, same, same) - ours(features, same, same, beta=0)
    (gradient,) = torch.autograd.grad(far, features)
    assert float(far.detach()) == pytest.approx(0, abs=1e-13)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-13)


def test_one_image_has_no_loss():
    one = torch.tensor([1])
    assert float(ours(unit_features(1), one, one)) == pytest.approx(0, abs=1e-13)


def test_gradient_is_that_of_the_function():
    features = unit_features(4).requires_grad_()
    labels, subclasses = LABELS[:4], SUBCLASSES[:4]
    assert torch.autograd.gradcheck(lambda rows: ours(rows, labels, subclasses), features)


def test_computes_in_single_precision_under_autocast():
    features = unit_features(9, torch.float32).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ours(features, LABELS, SUBCLASSES, temperatures=TEMPERATURES / 4)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.dtype == torch.float32 and bool(gradient.isfinite().all())
    single = ours(features.detach().float(), LABELS, SUBCLASSES, temperatures=TEMPERATURES / 4)
    torch.testing.assert_close(loss.detach(), single)


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for images in (5, 40):
        features, labels = unit_features(images).requires_grad_(), torch.arange(images) % 5
        with HostReads() as reads, OpCount() as kernels:
            ours(features, labels, torch.arange(images) % 20).backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_is_the_same_on_a_gpu():
    features = unit_features(9)
    there = ours(features.cuda(), LABELS.cuda(), SUBCLASSES.cuda(), temperatures=TEMPERATURES.cuda())
    torch.testing.assert_close(there.cpu(), ours(features, LABELS, SUBCLASSES))


def test_refuses_anything_but_two_views():
    with pytest.raises(ValueError, match=r"\(B, 2, D\)"):
        ours(torch.zeros(9, 3, 4), LABELS, SUBCLASSES)
    with pytest.raises(ValueError, match=r"\(B, 2, D\)"):
        ours(torch.zeros(9, 4), LABELS, SUBCLASSES)
