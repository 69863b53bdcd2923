import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads
from helpers.golden_vectors import DOUBLE, assert_loss_and_gradient, golden

from lt_bench.errors import DataError
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy

LABELS = torch.tensor([0, 2, 1, 0, 3])


def some_logits(**settings):
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, **settings)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
@pytest.mark.parametrize(
    ("dtype", "loss_tolerance", "tolerance"),
    [
        (torch.float64, {"rtol": 1e-9, "atol": 0}, {"rtol": 1e-5, "atol": 2e-6}),
        (torch.float32, {"rtol": 2e-4, "atol": 1e-5}, {"rtol": 2e-4, "atol": 1e-5}),
    ],
)
def test_equals_the_golden_loss_gradient_and_adjustment(case, dtype, loss_tolerance, tolerance):
    vectors = golden("bcl_logitadjust", case)
    logits, tau = vectors["logits"].to(dtype).requires_grad_(), float(vectors["tau"])
    prior = log_prior(vectors["cls_num_list"])
    torch.testing.assert_close(tau * prior, vectors["adjustment"], rtol=1e-5, atol=2e-6)
    loss = logit_adjusted_cross_entropy(logits, vectors["targets"], prior, tau)
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.detach().double(), vectors["loss"], **loss_tolerance)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, vectors["grad_logits"].to(dtype), **tolerance)


def test_equals_the_equation_written_as_a_loop():
    logits, counts, tau = some_logits(), [40, 10, 3, 1], 1.5
    total = 0.0
    for row, label in zip(logits.tolist(), LABELS.tolist(), strict=True):
        likely = [math.exp(value) * (count / 54) ** tau for value, count in zip(row, counts, strict=True)]
        total -= math.log(likely[label] / sum(likely))
    loss = logit_adjusted_cross_entropy(logits, LABELS, log_prior(torch.tensor(counts)), tau)
    assert float(loss) == pytest.approx(total / 5, rel=1e-12)


def test_equals_the_golden_weighted_cross_entropy_where_the_prior_is_left_out():
    vectors = golden("mixing_losses")
    for name in "abc":
        logits, weights = vectors[f"{name}__logits"].clone().requires_grad_(), vectors[f"{name}__weights"]
        prior = log_prior(vectors[f"{name}__counts"])
        loss = logit_adjusted_cross_entropy(logits, vectors[f"{name}__labels"], prior, 0.0, weights)
        case = {key: vectors[f"{name}__ce_weighted__{key}"] for key in ("loss", "grad")}
        assert_loss_and_gradient(loss, logits, case, DOUBLE)


def test_class_weights_stand_in_both_sums_of_the_mean():
    prior, weights = log_prior(torch.tensor([40, 10, 3, 1])), torch.tensor([0.25, 0.5, 1.5, 1.75])
    each = [
        float(logit_adjusted_cross_entropy(some_logits()[i : i + 1], LABELS[i : i + 1], prior, 0.7)) for i in range(5)
    ]
    own = [float(weights[label]) for label in LABELS.tolist()]
    expected = sum(weight * value for weight, value in zip(own, each, strict=True)) / sum(own)
    loss = logit_adjusted_cross_entropy(some_logits(), LABELS, prior, 0.7, weights)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("counts", "tau"), [([7, 7, 7, 7], 1.0), ([40, 10, 3, 1], 0.0)])
def test_balanced_counts_or_no_tau_is_plain_cross_entropy(counts, tau):
    loss = logit_adjusted_cross_entropy(some_logits(), LABELS, log_prior(torch.tensor(counts)), tau)
    torch.testing.assert_close(loss, F.cross_entropy(some_logits(), LABELS))


def test_a_shift_of_an_image_or_of_the_prior_changes_nothing():
    prior = log_prior(torch.tensor([40, 10, 3, 1]))
    expected = logit_adjusted_cross_entropy(some_logits(), LABELS, prior, 0.7)
    shifts = torch.tensor([[3.0], [-2.0], [50.0], [0.0], [1.0]])
    torch.testing.assert_close(logit_adjusted_cross_entropy(some_logits() + shifts, LABELS, prior, 0.7), expected)
    torch.testing.assert_close(logit_adjusted_cross_entropy(some_logits(), LABELS, prior + 5, 0.7), expected)


def test_the_prior_is_a_distribution_and_gives_rare_classes_the_larger_loss():
    prior = log_prior(torch.tensor([40, 10, 3, 1]))
    assert float(prior.exp().sum()) == pytest.approx(1, rel=1e-12)
    losses = [float(logit_adjusted_cross_entropy(torch.zeros(1, 4), torch.tensor([c]), prior, 1.0)) for c in range(4)]
    assert losses == sorted(losses) and losses[0] == pytest.approx(-math.log(40 / 54), rel=1e-6)


def test_gradient_is_that_of_the_function():
    prior = log_prior(torch.tensor([40, 10, 3, 1]))
    logits = some_logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: logit_adjusted_cross_entropy(rows, LABELS, prior, 1.3), logits)


def test_computes_in_single_precision_under_autocast_and_reads_nothing_on_the_host():
    logits, prior = some_logits().bfloat16().requires_grad_(), log_prior(torch.tensor([40, 10, 3, 1]))
    with torch.autocast("cpu", dtype=torch.bfloat16), HostReads() as reads:
        loss = logit_adjusted_cross_entropy(logits, LABELS, prior, 1.0)
        loss.backward()
    assert loss.dtype == torch.float32 and bool(logits.grad.isfinite().all()) and reads.found == []


@pytest.mark.parametrize("counts", [[5, 0, 2], []])
def test_empty_classes_are_refused_with_what_to_do(counts):
    with pytest.raises(DataError, match="at least one training image.*cut a shorter tail"):
        log_prior(torch.tensor(counts))
