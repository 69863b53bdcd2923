"""KCL with a queue: the values of three codes, draws, given positives, and what names of classes may not change."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import DOUBLE, SINGLE, golden

from lt_bench.losses.kcl import k_positives_in_batch
from lt_bench.losses.kcl_moco import draw_positives, k_positive, positive_sums
from lt_bench.losses.queue import Anchors, chosen_sums

PRECISIONS = [(torch.float64, {"rtol": 1e-8, "atol": 0.0}), (torch.float32, {"rtol": 2e-4, "atol": 1e-5})]


def read(file, case, dtype):
    values = golden(file, case)
    anchors = Anchors(*(values[name].to(dtype) for name in ("q", "key", "queue")))
    anchors.queries.requires_grad_()
    return values, anchors


def selected(values, sampling):
    """Which entries of the queue the draws of a case select, (B, K) int64."""
    positions, counts = draw_positives(values["labels"], values["queue_labels"], values["draws"], sampling)
    found = torch.zeros(len(values["labels"]), len(values["queue_labels"]), dtype=torch.int64)
    found.T.scatter_add_(0, positions, counts.long())
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", "abc")
def test_sbcls_authors_draw_with_replacement(case, dtype):
    values, anchors = read("sbcl_moco_kcl", case, dtype)
    assert torch.equal(selected(values, "replacement"), values["selected"].long())  # and each counts once
    words = values["labels"], values["queue_labels"], values["draws"], float(values["temperature"])
    loss = k_positive(anchors, *words)
    expected = values["loss"] if dtype == torch.float64 else values["loss_f32"]
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss, anchors.queries)
    torch.testing.assert_close(gradient.float(), values["grad_q"], **SINGLE)  # stored in single precision


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", range(4))
def test_tscs_authors_draw_different_ones(case, dtype, tolerance):
    values, anchors = read("tsc_kcl", f"c{case}", dtype)
    if len(values["draws"]):
        assert torch.equal(selected(values, "distinct"), values["selected"].long())
    else:  # all of the class
        sums, counts = positive_sums(
            anchors.queue, values["labels"], values["queue_labels"], values["draws"], "distinct"
        )
        assert torch.equal(counts.long(), values["selected"].sum(1))
        torch.testing.assert_close(sums, values["selected"].to(dtype) @ anchors.queue)
    words = values["labels"], values["queue_labels"], values["draws"], float(values["temperature"])
    loss = k_positive(anchors, *words, "distinct")
    torch.testing.assert_close(loss.double().detach(), values["loss"], **tolerance)
    (gradient,) = torch.autograd.grad(loss, anchors.queries)
    expected = values["grad_q"].to(dtype)
    torch.testing.assert_close(gradient, expected, **(DOUBLE if dtype == torch.float64 else SINGLE))


@pytest.mark.parametrize("case", range(3))
def test_kcls_authors_with_the_positives_that_their_top_k_took(case):
    """In their variant v2 the others of the class have a score of 0, as entries of zeros have."""
    values, anchors = read("tsc_kcl_original", f"c{case}", torch.float64)
    chosen, temperature = values["selected"], float(values["temperature"])
    same = values["labels"][:, None] == values["queue_labels"]
    assert torch.equal(
        selected(values | {"draws": torch.zeros(int(values["k"]), len(same))}, "first").sum(1), chosen.sum(1)
    )
    assert not (chosen & ~same).any()
    losses = []
    for row, (used, candidates) in enumerate(zip(chosen, same, strict=True)):
        left_out = candidates & ~used & values["losstype_v2"]
        queue = anchors.queue.masked_fill(left_out[:, None], 0)
        one = Anchors(anchors.queries[row : row + 1], anchors.keys[row : row + 1], queue)
        sums, counts = chosen_sums(used[None], queue)
        losses.append(one.denominators(temperature) - one.attraction(sums, counts) / temperature)
        torch.testing.assert_close(values["soft_labels"][row, 0].double(), 1 / (1 + counts[0]), rtol=1e-6, atol=0.0)
    loss = torch.cat(losses).mean()
    torch.testing.assert_close(loss.detach(), values["loss"], rtol=1e-6, atol=0.0)
    (gradient,) = torch.autograd.grad(loss, anchors.queries)
    torch.testing.assert_close(gradient, values["grad_q"], **DOUBLE)


def random_case(seed, batch=7, size=23, classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(2 * batch + size, 5, generator=generator, dtype=torch.float64), dim=1).to(dtype)
    anchors = Anchors(*vectors.split([batch, batch, size]))
    labels, queue_labels = (torch.randint(classes, (n,), generator=generator) for n in (batch, size))
    queue_labels[:4] = -1
    return anchors, labels, queue_labels


@pytest.mark.parametrize("sampling", ["replacement", "distinct", "first"])
def test_drawn_positives_are_of_the_class_and_none_is_of_no_class(sampling):
    _, labels, queue_labels = random_case(1, classes=4)
    labels[0] = 9  # nothing in the queue is of its class
    draws = torch.rand(50, len(labels), generator=torch.Generator().manual_seed(2))
    draws[0], draws[1] = 0.0, 1 - 2**-24
    positions, counts = draw_positives(labels, queue_labels, draws, sampling)
    for i, label in enumerate(labels):
        drawn = positions[:, i][counts[:, i]].tolist()
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) == set((queue_labels == label).nonzero()[:, 0].tolist())  # so many draws miss none


def test_the_first_positives_are_those_that_stand_first_in_the_queue():
    labels, queue_labels = torch.tensor([1, 0]), torch.tensor([0, 1, -1, 1, 1, 0])
    positions, counts = draw_positives(labels, queue_labels, torch.rand(3, 2), "first")
    assert positions[:, 0].tolist() == [1, 3, 4] and positions[:2, 1].tolist() == [0, 5]
    assert counts.tolist() == [[True, True], [True, True], [True, False]]


def test_enough_draws_take_the_whole_class_as_none_do():
    anchors, labels, queue_labels = random_case(2)
    losses = [k_positive(anchors, labels, queue_labels, torch.rand(k, 7), 0.1, "distinct") for k in (0, 40)]
    torch.testing.assert_close(*losses)


def test_an_empty_queue_leaves_the_own_key_alone():
    anchors, labels, _ = random_case(3)
    found = k_positive(anchors, labels, torch.full((23,), -1), torch.rand(6, 7), 0.1, "distinct")
    scores = torch.cat(anchors.cosines(), 1) / 0.1
    torch.testing.assert_close(found, F.cross_entropy(scores, torch.zeros(7, dtype=torch.int64)))


def test_a_queue_of_the_batchs_own_views_is_the_loss_in_the_batch():
    """The anchors of one view against all others, of which each is once in the denominator."""
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(8, 2, 5, generator=generator, dtype=torch.float64), dim=2)
    labels, draws = torch.arange(8) % 2, torch.rand(3, 16, generator=generator)
    rows, both, total = features.transpose(0, 1).flatten(0, 1), labels.repeat(2), 0.0
    for row in range(16):
        partner = (row + 8) % 16
        others = [place for place in range(16) if place not in (row, partner)]
        one = Anchors(rows[row : row + 1], rows[partner : partner + 1], rows[others])
        total += k_positive(one, both[row : row + 1], both[others], draws[:, row : row + 1], 0.1, "distinct")
    torch.testing.assert_close(total / 16, k_positives_in_batch(features, labels, draws, 0.1))


def test_names_of_classes_do_not_matter():
    anchors, labels, queue_labels = random_case(4)
    new, draws = torch.tensor([7, 9, 8, -1]), torch.rand(3, 7)
    losses = [
        k_positive(anchors, *names, draws, 0.1, "distinct")
        for names in ((labels, queue_labels), (new[labels], new[queue_labels]))
    ]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("sampling", ["replacement", "distinct"])
def test_extreme_scores_stay_finite_in_half_precision(sampling):
    anchors, labels, queue_labels = random_case(3, dtype=torch.half)
    anchors.queries.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = k_positive(anchors, labels, queue_labels, torch.rand(6, 7), 0.005, sampling)
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert torch.autograd.grad(loss, anchors.queries)[0].isfinite().all()
