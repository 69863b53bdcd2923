"""Balanced contrastive loss: the authors' values, its definition as loops, limits where it is a known loss."""

import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden
from torch import Tensor

from lt_bench.losses.bcl import balanced_contrastive
from lt_bench.losses.supcon import supcon

RULES = ["positives", "size"]
DOUBLE = ({"rtol": 1e-9, "atol": 0}, {"rtol": 1e-5, "atol": 2e-6})  # of the loss, of the gradients
SINGLE = ({"rtol": 2e-4, "atol": 1e-5}, {"rtol": 2e-4, "atol": 1e-5})


def unit_rows(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return F.normalize(torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)


def by_loops(features: Tensor, prototypes: Tensor, labels: list[int], temperature: float, rule: str) -> float:
    """Averages of exponentials class by class, one anchor after the other."""
    views = features.shape[1]
    anchors = [(features[image, view], labels[image]) for view in range(views) for image in range(len(labels))]
    members = [*anchors, *((prototype, label) for label, prototype in enumerate(prototypes))]
    total = 0.0
    for index, (anchor, label) in enumerate(anchors):
        denominator = 0.0
        for other in range(len(prototypes)):
            rows = [row for k, (row, of) in enumerate(members) if of == other and k != index]
            size = len(rows) + (1 if other == label and rule == "size" else 0)
            denominator += sum(math.exp(float(anchor @ row) / temperature) for row in rows) / size
        positives = [row for k, (row, of) in enumerate(members) if of == label and k != index]
        scores = [float(anchor @ row) / temperature - math.log(denominator) for row in positives]
        total -= sum(scores) / len(scores)
    return total / len(anchors)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
@pytest.mark.parametrize(("dtype", "tolerances"), [(torch.float64, DOUBLE), (torch.float32, SINGLE)])
def test_equals_the_golden_loss_and_both_gradients(case, dtype, tolerances):
    vectors = golden("bcl_balscl", case)
    of_loss, of_gradients = tolerances
    features = vectors["features"].to(dtype).requires_grad_()
    prototypes = vectors["centers"].to(dtype).requires_grad_()
    loss = balanced_contrastive(features, prototypes, vectors["targets"], float(vectors["temperature"]))
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.detach().double(), vectors["loss"], **of_loss)
    gradients = torch.autograd.grad(loss, (features, prototypes))
    for gradient, name in zip(gradients, ("grad_features", "grad_centers"), strict=True):
        torch.testing.assert_close(gradient, vectors[name].to(dtype), **of_gradients)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("labels", [[3, 0, 3, 3, 1], [0, 1, 2, 3, 4], [2, 2, 2, 2, 2], [4]])
def test_equals_the_definition_written_as_loops(rule, views, labels):
    """Also with absent classes, with one image per class, with one class only and with one image."""
    features, prototypes = unit_rows(len(labels), views, 6), unit_rows(5, 6)
    loss = balanced_contrastive(features, prototypes, torch.tensor(labels), 0.2, rule)
    assert float(loss) == pytest.approx(by_loops(features, prototypes, labels, 0.2, rule), rel=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_does_not_depend_on_the_order_of_images_views_or_classes(rule):
    features, prototypes, labels = unit_rows(9, 2, 6), unit_rows(5, 6), torch.tensor([0, 1, 1, 2, 0, 3, 1, 2, 1])
    generator = torch.Generator().manual_seed(1)
    order, names = torch.randperm(9, generator=generator), torch.randperm(5, generator=generator)
    loss = balanced_contrastive(features, prototypes, labels, 0.1, rule)
    renamed = torch.empty_like(prototypes)
    renamed[names] = prototypes
    again = balanced_contrastive(features[order].flip(1), renamed, names[labels[order]], 0.1, rule)
    torch.testing.assert_close(again, loss)


def test_depends_on_inner_products_over_the_temperature_alone():
    features, prototypes, labels = unit_rows(6, 2, 5), unit_rows(4, 5), torch.tensor([0, 1, 1, 3, 0, 1])
    expected = balanced_contrastive(features, prototypes, labels, 0.1)
    rotation = torch.linalg.qr(unit_rows(5, 5)).Q
    for scaled, temperature in ((3 * torch.eye(5).double(), 0.9), (rotation, 0.1)):
        loss = balanced_contrastive(features @ scaled, prototypes @ scaled, labels, temperature)
        torch.testing.assert_close(loss, expected)


def test_copies_of_the_prototypes_change_no_average():
    """Every class is one point, whatever the number of its images and views: the loss is that of four points."""
    prototypes, labels = torch.eye(4, dtype=torch.float64), torch.tensor([0, 1, 1, 3])
    features = prototypes[labels][:, None]
    losses = [balanced_contrastive(features.repeat(1, views, 1), prototypes, labels, 0.3) for views in (1, 2, 5)]
    expected = torch.tensor(-1 / 0.3 + math.log(math.exp(1 / 0.3) + 3), dtype=torch.float64)
    for loss in losses:
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("rule", RULES)
def test_a_single_embedding_meets_the_prototypes_in_a_cross_entropy(rule):
    features, prototypes, label = unit_rows(1, 1, 6), unit_rows(7, 6), torch.tensor([4])
    logits = features[:, 0] @ prototypes.T / 0.1
    # the class has two members, one of which is the anchor; the numerator has no weight
    weight = torch.zeros(7).index_fill(0, label, math.log(2) if rule == "size" else 0.0)
    loss = balanced_contrastive(features, prototypes, label, 0.1, rule)
    torch.testing.assert_close(loss, F.cross_entropy(logits - weight, label) - weight[label].double().squeeze())


def test_with_one_image_per_class_the_prototypes_are_a_third_view_of_supcon():
    views, labels = unit_rows(6, 3, 8), torch.arange(6)
    losses = [
        balanced_contrastive(views[:, [first, second]], views[:, third], labels, 0.1, "size")
        for first, second, third in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    ]
    # all classes have three members, so that averages are sums over three; each view is an anchor twice
    torch.testing.assert_close(sum(losses) / 3, supcon(views, labels, 0.1, 0.1) - math.log(3))


def test_the_two_denominators_differ_by_the_own_class_alone():
    features, prototypes, labels = unit_rows(5, 2, 6), unit_rows(3, 6), torch.tensor([0, 0, 1, 0, 1])
    mean, divided = (balanced_contrastive(features, prototypes, labels, 0.2, rule) for rule in RULES)
    assert divided < mean  # a smaller weight for the same exponentials
    # where nothing but the own class is left, the difference is the ratio of the weights: 7 members, 6 positives
    alone = [balanced_contrastive(features[:3], prototypes[:1], torch.zeros(3).long(), 0.2, rule) for rule in RULES]
    torch.testing.assert_close(alone[0] - alone[1], torch.tensor(math.log(7 / 6), dtype=torch.float64))


def test_absent_classes_take_part_and_get_gradients():
    features, prototypes = unit_rows(4, 2, 6), unit_rows(5, 6).requires_grad_()
    labels = torch.tensor([0, 0, 2, 2])
    loss = balanced_contrastive(features, prototypes, labels, 0.1)
    (gradient,) = torch.autograd.grad(loss, prototypes)
    assert bool((gradient.norm(dim=1) > 1e-6).all())
    assert loss > balanced_contrastive(features, prototypes[:3], labels, 0.1)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_are_those_of_the_function(rule):
    features, prototypes = unit_rows(4, 2, 5).requires_grad_(), unit_rows(4, 5).requires_grad_()
    labels = torch.tensor([0, 1, 0, 3])
    assert torch.autograd.gradcheck(
        lambda rows, centres: balanced_contrastive(rows, centres, labels, 0.3, rule), (features, prototypes)
    )


def test_computes_in_single_precision_under_autocast():
    features = unit_rows(16, 2, 8, dtype=torch.float32).bfloat16().requires_grad_()
    prototypes = unit_rows(6, 8, dtype=torch.float32).bfloat16().requires_grad_()
    labels = torch.arange(16) % 5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = balanced_contrastive(features, prototypes, labels, 0.05)
    gradients = torch.autograd.grad(loss, (features, prototypes))
    assert loss.dtype == torch.float32 and all(bool(gradient.isfinite().all()) for gradient in gradients)
    single = balanced_contrastive(features.detach().float(), prototypes.detach().float(), labels, 0.05)
    torch.testing.assert_close(loss, single, rtol=0, atol=0)


def test_is_finite_where_exponentials_are_not():
    features, prototypes = 10 * unit_rows(6, 2, 5, dtype=torch.float32), 10 * unit_rows(4, 5, dtype=torch.float32)
    loss = balanced_contrastive(features.requires_grad_(), prototypes, torch.tensor([0, 1, 1, 3, 0, 1]), 0.05)
    (gradient,) = torch.autograd.grad(loss, features)
    assert bool(loss.isfinite()) and bool(gradient.isfinite().all())


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for images, classes in ((4, 3), (32, 3), (4, 30)):
        features, prototypes = unit_rows(images, 2, 6).requires_grad_(), unit_rows(classes, 6).requires_grad_()
        with HostReads() as reads, OpCount() as kernels:
            balanced_contrastive(features, prototypes, torch.arange(images) % 3, 0.1).backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert len(set(counts)) == 1


def test_leaves_its_inputs_as_they_were():
    features, prototypes = unit_rows(4, 2, 6), unit_rows(3, 6)
    before = features.clone(), prototypes.clone()
    balanced_contrastive(features, prototypes, torch.tensor([0, 1, 1, 2]), 0.1)
    assert torch.equal(features, before[0]) and torch.equal(prototypes, before[1])


def test_refuses_features_without_views_and_unknown_rules():
    labels = torch.zeros(3).long()
    with pytest.raises(ValueError, match=r"\(B, V, D\)"):
        balanced_contrastive(unit_rows(3, 6), unit_rows(2, 6), labels, 0.1)
    with pytest.raises(ValueError, match="positives or size"):
        balanced_contrastive(unit_rows(3, 2, 6), unit_rows(2, 6), labels, 0.1, "mean")
