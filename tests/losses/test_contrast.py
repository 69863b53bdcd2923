"""Denominators and positives with their written-out gradients, against the same equations left to autograd."""

import pytest
import torch
from benchmarks.harness import PeakMemory

from lt_bench.losses.bcl import balanced_contrastive
from lt_bench.losses.contrast import log_denominators, positive_sums, renumbered
from lt_bench.losses.gpaco_multitask import gpaco_multitask
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.losses.sbcl import subclass_balancing
from lt_bench.losses.supcon import supcon

ANCHORS, ROWS, OTHERS, WIDTH, CLASSES = 4, 7, 5, 3, 4
LABELS = torch.tensor([0, 2, 2, 1, 0, 2, -1, 3, 0, -1, 2, 0])  # of the rows, then of the others


def example():
    generator = torch.Generator().manual_seed(0)
    shapes = [(ROWS, WIDTH), (OTHERS, WIDTH), (ANCHORS, ROWS + OTHERS), (ANCHORS, CLASSES)]
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def plain_denominators(rows, anchors, temperature, bias=None, contrast=None, logits=None):
    scores = rows[:anchors] @ (rows if contrast is None else torch.cat([rows, contrast[len(rows) :]])).T / temperature
    scores = scores if bias is None else scores + bias
    scores = scores.masked_fill(torch.eye(*scores.shape, dtype=torch.bool), -torch.inf)
    return (scores if logits is None else torch.cat([logits, scores], 1)).logsumexp(1)


@pytest.mark.parametrize("with_others", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_logits", [False, True])
def test_denominators_and_their_gradients_are_those_of_the_equation(with_others, with_bias, with_logits):
    rows, others, bias, logits = example()
    rows, logits = rows.requires_grad_(), logits.requires_grad_()
    count = ROWS + OTHERS if with_others else ROWS
    bias[:, 1], bias[:, 5] = -torch.inf, 40.0
    words = {"contrast": torch.cat([rows.detach(), others]) if with_others else None}
    words |= {"bias": bias[:, :count] if with_bias else None, "logits": logits if with_logits else None}
    expected = plain_denominators(rows, ANCHORS, 0.2, **words)
    given = {**words, "bias": bias[:, :count].clone() if with_bias else None}
    found = log_denominators(rows, ANCHORS, 0.2, **given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    inputs, weights = (rows, logits) if with_logits else (rows,), torch.arange(1.0, ANCHORS + 1).double()
    gradients = [torch.autograd.grad(one @ weights, inputs) for one in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_gradients_pass_gradcheck():
    rows, others, bias, logits = example()
    contrast = torch.cat([rows, others])
    inputs = (rows.requires_grad_(), logits.requires_grad_())

    def denominators(rows, logits):
        everything = torch.cat([rows.detach(), contrast[ROWS:]])
        return log_denominators(rows, ANCHORS, 0.7, bias.clone(), everything, logits)

    assert torch.autograd.gradcheck(denominators, inputs)
    assert torch.autograd.gradcheck(lambda rows: positive_sums(rows, LABELS[:ROWS], ANCHORS, CLASSES)[0], rows)


@pytest.mark.parametrize("with_others", [False, True])
def test_positive_sums_and_their_gradients_are_those_of_the_equation(with_others):
    rows, others, *_ = example()
    rows.requires_grad_()
    labels = LABELS if with_others else LABELS[:ROWS]
    same = (labels[:ANCHORS, None] == labels).double().fill_diagonal_(0)
    everything = torch.cat([rows, others]) if with_others else rows
    expected = ((rows[:ANCHORS] @ everything.T) * same).sum(1)
    contrast = everything.detach() if with_others else None
    found, counts = positive_sums(rows, labels, ANCHORS, CLASSES, contrast)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(counts, same.sum(1))
    weights = torch.arange(1.0, ANCHORS + 1).double()
    gradients = [torch.autograd.grad(one @ weights, rows) for one in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_a_second_backward_pass_finds_the_same():
    rows, *_ = example()
    total = (
        log_denominators(rows.requires_grad_(), ANCHORS, 0.2).sum() + positive_sums(rows, LABELS[:ROWS], 4, 4)[0].sum()
    )
    first, second = (torch.autograd.grad(total, rows, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_groups_are_numbered_below_their_number():
    numbers = renumbered(torch.tensor([9, -4, 9, 100, -4]))
    assert numbers[0] == numbers[2] and numbers[1] == numbers[4] and len(numbers.unique()) == 3
    assert int(numbers.min()) == 0 and int(numbers.max()) < 5


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("name", ["paco", "multitask"])
def test_rows_without_gradient_change_nothing_else(name, official):
    rows, others, _, logits = example()
    embeddings = torch.cat([rows, others]).requires_grad_()
    logits, prior = logits.requires_grad_(), torch.zeros(CLASSES)

    def loss(constants):
        if name == "paco":
            settings = PaCoSettings(0.3, 0.1, gamma=0.5, smooth=0.1)
            return paco(logits, embeddings, LABELS, prior, settings, official, constants)
        return gpaco_multitask(logits, embeddings, LABELS, prior, torch.ones(CLASSES), 0.3, 0.5, official, constants)

    every, some = loss(0), loss(OTHERS)
    torch.testing.assert_close(some, every, rtol=1e-14, atol=0)
    (of_logits, of_every), (again, of_some) = (torch.autograd.grad(one, (logits, embeddings)) for one in (every, some))
    torch.testing.assert_close(again, of_logits)
    torch.testing.assert_close(of_some[:ROWS], of_every[:ROWS])
    assert bool(of_every[ROWS:].any()) and not of_some[ROWS:].any()


IMAGES = 128
LARGE = torch.nn.functional.normalize(torch.randn(IMAGES, 2, 8, generator=torch.Generator().manual_seed(0)), dim=2)
ROWS_OF_LARGE, OF_LARGE = LARGE.transpose(0, 1).flatten(0, 1), torch.arange(IMAGES) % CLASSES
# matrices of all pairs that are alive at most, a part of one for masks and rows
LOSSES = {
    "supcon": (1, lambda rows: supcon(rows, OF_LARGE, 0.1, 0.1)),
    "bcl": (1, lambda rows: balanced_contrastive(rows, torch.eye(CLASSES, 8), OF_LARGE, 0.1)),
    "sbcl": (3, lambda rows: subclass_balancing(rows, OF_LARGE, OF_LARGE, 0.1, torch.full((4,), 0.1), 0.2, 0.1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_few_matrices_of_all_pairs_are_alive_at_once(name):
    matrices, loss = LOSSES[name]
    rows = LARGE.clone().requires_grad_()
    with PeakMemory() as memory:
        loss(rows).backward()
    assert memory.peak < (matrices + 0.75) * 4 * (2 * IMAGES) ** 2


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_taken_under_autocast_is_not_in_reduced_precision(name):
    _, loss = LOSSES[name]
    rows = LARGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(rows), rows)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(loss(rows), rows)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_gradients_are_refused_and_not_taken_for_zero(name):
    _, loss = LOSSES[name]
    rows = LARGE.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="leave out create_graph"):
        torch.autograd.grad(loss(rows) + rows.square().sum(), rows, create_graph=True)
