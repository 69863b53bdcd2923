"""SBCL's losses on a queue: the authors' values and gradients, and a plain loop over the definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import PRECISIONS, SINGLE, assert_loss_and_gradient, golden

from lt_bench.losses.queue import Anchors
from lt_bench.losses.sbcl_moco import queue_subclass_balancing

CASES = ["a", "b", "c"]


def read(file, case, dtype):
    values = golden(file, case)
    anchors = Anchors(*(values[name].to(dtype) for name in ("q", "key", "queue")))
    anchors.queries.requires_grad_()
    values["grad"] = values["grad_q"]
    same = [values["labels"][:, None] == values["queue_labels"]]
    if "subclass" in values:
        same.append(values["subclass"][:, None] == values["queue_subclass"])
    return values, anchors, same


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_bi_granularity_loss_of_the_authors(case, dtype, tolerance):
    values, anchors, same = read("sbcl_moco_rank", case, dtype)
    tau2 = torch.full((len(anchors.queries),), float(values["tau2"]), dtype=dtype)
    loss = queue_subclass_balancing(anchors, *same, float(values["tau1"]), tau2, float(values["beta"]), 0.07)
    assert_loss_and_gradient(loss, anchors.queries, values, tolerance)
    own, others = anchors.cosines()
    torch.testing.assert_close(torch.cat([own, others], 1).detach(), values["logits"].to(dtype), **SINGLE)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_variant_at_one_temperature_of_the_authors(case, dtype, tolerance):
    values, anchors, same = read("sbcl_moco_ccl", case, dtype)
    temperature = float(values["tau1"])
    everywhere = torch.full((len(anchors.queries),), temperature, dtype=dtype)

    def near(positives):
        """The first term alone: beta = 0, and temperature / base_temperature = 1."""
        return queue_subclass_balancing(anchors, positives, positives, temperature, everywhere, 0.0, temperature)

    same_class, same_subclass = same
    loss = near(same_subclass) + float(values["beta"]) * near(same_class)
    assert_loss_and_gradient(loss, anchors.queries, values, tolerance)


def random_case(seed, batch=7, size=23, classes=3):
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(2 * batch + size, 5, generator=generator, dtype=torch.float64), dim=1)
    anchors = Anchors(*vectors.split([batch, batch, size]))
    labels, queue_labels = (torch.randint(classes, (n,), generator=generator) for n in (batch, size))
    queue_labels[:4] = -1
    halves = [torch.randint(2, (n,), generator=generator) for n in (batch, size)]
    subclasses, queue_subclasses = 2 * labels + halves[0], 2 * queue_labels + halves[1]
    queue_subclasses[:4] = -1
    return anchors, labels, queue_labels, subclasses, queue_subclasses


def test_every_anchor_has_its_own_temperature_and_the_definition_is_met():
    anchors, labels, queue_labels, subclasses, queue_subclasses = random_case(0)
    temperatures = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)[labels]
    total = 0.0
    for i in range(len(labels)):
        terms = []
        for tau, term in ((0.07, "near"), (float(temperatures[i]), "far")):
            scores = {"own": float(anchors.queries[i] @ anchors.keys[i]) / tau}
            scores |= {j: float(anchors.queries[i] @ row) / tau for j, row in enumerate(anchors.queue)}
            same = {j for j in range(len(queue_labels)) if queue_subclasses[j] == subclasses[i]}
            own_class = {j for j in range(len(queue_labels)) if queue_labels[j] == labels[i]}
            positives = ["own", *(same if term == "near" else own_class - same)]
            left = [score for j, score in scores.items() if term == "near" or j not in same]
            log_sum = math.log(sum(math.exp(score) for score in left))
            terms.append(log_sum - sum(scores[j] for j in positives) / len(positives))
        total += terms[0] * 0.07 / 0.05 + 0.3 * terms[1]
    same = labels[:, None] == queue_labels, subclasses[:, None] == queue_subclasses
    loss = queue_subclass_balancing(anchors, *same, 0.07, temperatures, 0.3, 0.05)
    assert float(loss) == pytest.approx(total / len(labels), rel=1e-9)


def test_extreme_scores_stay_finite_in_half_precision():
    anchors, labels, queue_labels, *_ = random_case(3)
    half = Anchors(*(rows.half() for rows in anchors))
    same = labels[:, None] == queue_labels
    with torch.autocast("cpu", torch.bfloat16):
        loss = queue_subclass_balancing(half, same, same, 0.005, torch.full((7,), 0.005), 0.2, 0.07)
    assert loss.dtype == torch.float32 and loss.isfinite()
