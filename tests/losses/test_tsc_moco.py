"""TSC with a queue: the authors' values, both normalisers, and what targets may not change."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import DOUBLE, SINGLE, golden

from lt_bench.geometry.simplex import far_apart
from lt_bench.losses.kcl_moco import draw_positives, k_positive, positive_sums
from lt_bench.losses.queue import Anchors, chosen_sums, log_sum
from lt_bench.losses.tsc import Targets, balanced
from lt_bench.losses.tsc_moco import of_anchors, targeted_in_queue

CASES = {number: golden("tsc_loss", f"c{number}") for number in range(5)}
IN_RECIPES = [number for number, case in CASES.items() if case["separate"] and int(case["target_repeat"]) == 1]
LOSS = {"rtol": 1e-8, "atol": 0.0}


def read(case, dtype):
    anchors = Anchors(*(case[name].to(dtype) for name in ("q", "key", "queue")))
    anchors.queries.requires_grad_()
    return anchors, (case["labels"], case["queue_labels"], case["draws"])


def targets_of(case, normaliser="code", dtype=torch.float64):
    return Targets(case["targets"].to(dtype), case["assignment"], float(case["target_weight"]), normaliser)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("number", IN_RECIPES)
def test_loss_and_gradient_of_the_authors(number, dtype):
    case, exact = CASES[number], dtype == torch.float64
    anchors, words = read(case, dtype)
    temperature = float(case["temperature"])
    loss = targeted_in_queue(anchors, *words, temperature, targets_of(case, dtype=dtype))
    torch.testing.assert_close(loss.double().detach(), case["loss"], **(LOSS if exact else SINGLE))
    (gradient,) = torch.autograd.grad(loss, anchors.queries)
    torch.testing.assert_close(gradient, case["grad_q"].to(dtype), **(DOUBLE if exact else SINGLE))
    paper = targeted_in_queue(anchors, *words, temperature, targets_of(case, "paper", dtype))
    torch.testing.assert_close(paper.double().detach(), case["loss_paper_normaliser"], **(LOSS if exact else SINGLE))
    without = targeted_in_queue(anchors, *words, temperature, targets_of(case, dtype=dtype)._replace(weight=0.0))
    torch.testing.assert_close(without.double().detach(), case["loss_class"], **(LOSS if exact else SINGLE))
    pull = (loss - without).double().detach()
    torch.testing.assert_close(pull, case["loss_target"], **(LOSS if exact else {"rtol": 1e-4, "atol": 1e-5}))
    chosen = F.one_hot(case["assignment"][case["labels"]], len(case["targets"])).bool()
    assert torch.equal(case["selected_target"], chosen)


def test_every_case_of_the_authors_is_compared():
    assert IN_RECIPES == [0, 1, 4]  # and 2 and 3 below


def test_repeated_targets_of_the_authors():
    """Every target stands there twice, is twice a positive, and counts twice among them."""
    case = CASES[2]
    anchors, (labels, queue_labels, draws) = read(case, torch.float64)
    repeat, weight = int(case["target_repeat"]), float(case["target_weight"])
    targets = Targets(case["targets"].double().repeat_interleave(repeat, 0), repeat * case["assignment"], weight)
    sums, counts = positive_sums(anchors.queue, labels, queue_labels, draws, "distinct")
    near, pull = of_anchors(anchors, labels, sums, counts, float(case["temperature"]), targets)
    loss = ((near * (1 + counts) + repeat * weight * pull) / (1 + counts + repeat)).mean()
    torch.testing.assert_close(loss.detach(), case["loss"], **LOSS)
    (gradient,) = torch.autograd.grad(loss, anchors.queries)
    torch.testing.assert_close(gradient, case["grad_q"], **DOUBLE)


def test_targets_that_are_drawn_of_the_authors():
    """Targets are entries at the end of the queue, which are drawn as others are; their share alone is weighted."""
    case = CASES[3]
    anchors, (labels, queue_labels, draws) = read(case, torch.float64)
    temperature = float(case["temperature"])
    longer = anchors._replace(queue=torch.cat([anchors.queue, case["targets"].double()]))
    of_entries = torch.cat([queue_labels, case["assignment"].argsort()])
    positions, counts = draw_positives(labels, of_entries, draws, "distinct")
    chosen = torch.zeros(len(labels), len(of_entries), dtype=torch.int64)
    chosen.T.scatter_add_(0, positions, counts.long())
    assert torch.equal(chosen, torch.cat([case["selected"], case["selected_target"]], 1).long())
    denominators, number = longer.denominators(temperature), 1 + counts.sum(0)
    weighted = torch.cat([case["selected"].double(), float(case["target_weight"]) * case["selected_target"]], 1)
    sums, amount = chosen_sums(weighted, longer.queue)
    pulled = (1 + amount) * (denominators - longer.attraction(sums, amount) / temperature)
    loss = (pulled / number).mean()
    torch.testing.assert_close(loss.detach(), case["loss"], **LOSS)
    (gradient,) = torch.autograd.grad(loss, anchors.queries)
    torch.testing.assert_close(gradient, case["grad_q"], **DOUBLE)


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(9 + 9 + 20, 6, generator=generator, dtype=torch.float64), dim=1).to(dtype)
    anchors = Anchors(*vectors.split([9, 9, 20]))
    labels, queue_labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 3, 3]), torch.arange(20) % 5 - 1
    torch.manual_seed(0)
    points = far_apart(5, 6).to(dtype)
    draws = torch.rand(3, 9, generator=generator)
    return anchors, (labels, queue_labels, draws), points, torch.tensor([2, 0, 1, 4, 3])


def test_without_weight_and_near_to_nothing_targets_leave_kcl():
    anchors, words, points, of_class = example()
    ahead = Anchors(*(rows.abs() for rows in anchors))
    far = Targets(torch.full_like(points, -1e6), of_class, 0.0)
    torch.testing.assert_close(targeted_in_queue(ahead, *words, 0.1, far), k_positive(ahead, *words, 0.1, "distinct"))


def test_classes_and_their_targets_may_be_renamed_together():
    anchors, (labels, queue_labels, draws), points, of_class = example()
    order = torch.tensor([3, 1, 4, 0, 2, -1])
    moved = torch.empty_like(of_class)
    moved[order[:5]] = of_class
    losses = (
        targeted_in_queue(anchors, *names, draws, 0.1, Targets(points, targets, 0.2))
        for names, targets in (((labels, queue_labels), of_class), ((order[labels], order[queue_labels]), moved))
    )
    torch.testing.assert_close(*losses)


def test_one_image_of_every_class_and_an_empty_queue():
    anchors, (_, queue_labels, draws), points, of_class = example()
    five = Anchors(anchors.queries[:5], anchors.keys[:5], anchors.queue)
    for labels, of_queue in ((torch.arange(5), queue_labels), (torch.full((5,), 3), torch.full((20,), -1))):
        found = targeted_in_queue(five, labels, of_queue, draws[:, :5], 0.1, Targets(points, of_class, 0.2, "code"))
        assert found.isfinite()
    own, others = five.cosines()
    scores = five.queries @ points.T / 0.1
    whole = log_sum(own / 0.1, torch.cat([others / 0.1, scores], 1))
    near, pull = whole - own[:, 0] / 0.1, whole - scores[:, of_class[3]]
    torch.testing.assert_close(found, balanced(near, torch.ones(5), pull, Targets(points, of_class, 0.2, "code")))


def test_extreme_scores_stay_finite_in_half_precision():
    anchors, words, points, of_class = example(torch.bfloat16)
    anchors.queries.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = targeted_in_queue(anchors, *words, 0.005, Targets(points.float(), of_class, 0.2, "code"))
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert torch.autograd.grad(loss, anchors.queries)[0].isfinite().all()
