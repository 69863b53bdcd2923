"""ResLT's loss and class sets against the authors' code, and its limits."""

import pytest
import torch
from helpers.fingerprints import hashed
from helpers.golden_vectors import golden

from lt_bench.errors import SettingError
from lt_bench.losses.reslt import class_ranks, class_sets, residual_loss

PRECISIONS = [(torch.float64, 1e-9, {"rtol": 1e-5, "atol": 2e-6}), (torch.float32, 2e-4, {"rtol": 2e-4, "atol": 1e-5})]
EPSILON = 1e-7
SETS = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]]).bool()
LABELS = torch.tensor([0, 0, 1, 2, 3, 5, 4])
LOGITS = torch.randn(7, 3, 6, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(("dtype", "rtol", "tolerance"), PRECISIONS)
def test_is_that_of_the_authors_on_cifar(number, dtype, rtol, tolerance):
    case = golden("reslt_loss_cifar", f"c{number}")
    logits = case["logits"].transpose(0, 1).to(dtype).requires_grad_()
    classes = torch.arange(int(case["num_classes"]))
    sets = classes >= case["first_class"][:, None]
    assert torch.equal(sets[:, case["labels"]].sum(1), case["active"])
    found = residual_loss(logits, case["labels"], sets, float(case["beta"]), EPSILON)
    for value, name in zip(found, ("loss", "loss_branch", "loss_fusion"), strict=True):
        torch.testing.assert_close(value.double(), case[name], rtol=rtol, atol=0.0)
    if dtype == torch.float64 or number < 3:  # in the last case single precision saturates elsewhere
        (gradient,) = torch.autograd.grad(found.loss, logits)
        torch.testing.assert_close(gradient.transpose(0, 1), case["grad_logits"].to(dtype), **tolerance)
    exact = residual_loss(logits, case["labels"], sets, float(case["beta"]))
    torch.testing.assert_close(exact.loss.double(), case["loss_exact"], rtol=rtol, atol=0.0)


@pytest.mark.parametrize("number", range(4))
def test_is_that_of_the_authors_on_large_images(number):
    """Their labels are ranks; the loss of several experts is the sum of theirs."""
    case = golden("reslt_loss_ranked", f"c{number}")
    labels, below, classes = case["labels"], case["class_below"], int(case["num_classes"])
    sets = torch.arange(classes) < below[:, None]
    fusion_epsilon = 0.0 if number == 2 else EPSILON  # iNaturalist
    total = 0.0
    for expert in range(int(case["num_experts"])):
        offset, scale = int(case["logit_offset"]) + 10_000_000 * expert, float(case["logit_scale"])
        parts = [hashed(offset + 1_000_000 * k, (len(labels), classes)) for k in range(len(below))]
        logits = (scale * torch.stack(parts, 1)).requires_grad_()
        smoothing = float(case["label_smoothing"])
        found = residual_loss(logits, labels, sets, float(case["beta"]), EPSILON, fusion_epsilon, smoothing)
        total = total + found.loss.detach()
        torch.testing.assert_close(found.branches, case["loss_branch"][expert], rtol=1e-9, atol=0.0)
        torch.testing.assert_close(found.fusion, case["loss_fusion"][expert], rtol=1e-9, atol=0.0)
        (gradient,) = torch.autograd.grad(found.loss, logits)
        gradient, branches = gradient.transpose(0, 1), len(below)
        columns = case["grad_cols"][expert][:branches].double()
        torch.testing.assert_close(gradient[:, :, case["cols"]], columns, rtol=1e-5, atol=2e-6)
        for name, order in (("grad_l2", 2), ("grad_abs_sum", 1)):
            norms = gradient.flatten(1).norm(order, dim=1)
            torch.testing.assert_close(norms, case[name][expert][:branches], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(total, case["loss"], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("number", range(3))
def test_ranks_are_those_of_the_authors_in_a_stable_order(number):
    case = golden("reslt_class_rank", f"c{number}")
    ranks = class_ranks(case["counts"])
    assert torch.equal(ranks, case["rank_stable"])
    if not case["has_ties"]:
        assert torch.equal(ranks, case["rank"])


@pytest.mark.parametrize(
    ("classes", "largest", "shares", "first"), [(100, 500, (0.65, 0.3), (0, 35, 70)), (10, 5000, (0.8, 0.6), (0, 2, 4))]
)
@pytest.mark.parametrize("factor", [100, 50, 10])
def test_sets_on_cifar_are_the_authors_cuts(classes, largest, shares, first, factor):
    counts = torch.tensor([int(largest * factor ** (-j / (classes - 1))) for j in range(classes)])
    expected = torch.arange(classes) >= torch.tensor(first)[:, None]
    assert torch.equal(class_sets(counts, shares), expected)


@pytest.mark.parametrize(
    ("classes", "shares", "below"), [(1000, (0.825, 0.22), (825, 220)), (8142, (0.8106,), (6600,))]
)
def test_sets_on_large_images_are_the_authors_ranks(classes, shares, below):
    assert class_sets(torch.arange(classes) + 2, shares).sum(1).tolist() == [classes, *below]


@pytest.mark.parametrize("shares", [[], [0.3, 0.65], [1.1], [0.0]])
def test_shares_that_make_no_nested_sets_are_refused(shares):
    with pytest.raises(SettingError, match="shares"):
        class_sets(torch.arange(6), shares)


def test_is_what_its_words_say():
    """One image after the other: each branch that has its class, with one normaliser."""
    terms, fusion, weight = [], [], 0.9
    for row, label in enumerate(LABELS.tolist()):
        terms += [-LOGITS[row, k].log_softmax(0)[label] for k in range(3) if SETS[k, label]]
        fusion.append(-LOGITS[row].sum(0).log_softmax(0)[label])
    expected = weight * sum(terms) / len(terms) + (1 - weight) * sum(fusion) / len(fusion)
    torch.testing.assert_close(residual_loss(LOGITS, LABELS, SETS, weight).loss, expected)


def test_without_the_branches_it_is_cross_entropy_of_the_sum():
    expected = torch.nn.functional.cross_entropy(LOGITS.sum(1), LABELS)
    torch.testing.assert_close(residual_loss(LOGITS, LABELS, SETS, 0.0).loss, expected)


def test_images_of_large_classes_train_the_first_branch_alone():
    logits = LOGITS[:3].clone().requires_grad_()
    loss = residual_loss(logits, LABELS[:3], SETS, 1.0).loss
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits[:, 0], LABELS[:3]))
    assert bool(gradient[:, 0].any()) and not bool(gradient[:, 1:].any())


def test_orders_of_images_and_classes_change_nothing():
    images, classes = torch.randperm(7), torch.randperm(6)
    whole = residual_loss(LOGITS, LABELS, SETS, 0.9).loss
    torch.testing.assert_close(residual_loss(LOGITS[images], LABELS[images], SETS, 0.9).loss, whole)
    other = residual_loss(LOGITS[..., classes], classes.argsort()[LABELS], SETS[:, classes], 0.9).loss
    torch.testing.assert_close(other, whole)


def test_absent_classes_and_one_image_of_each_are_like_others():
    for labels in (torch.full((7,), 5), torch.arange(6).repeat(2)[:7]):
        found = residual_loss(LOGITS, labels, SETS, 0.9)
        assert all(bool(value.isfinite()) for value in found)


@pytest.mark.parametrize("epsilon", [0.0, EPSILON])
def test_is_finite_for_large_logits_and_in_bf16(epsilon):
    logits = (60 * LOGITS).to(torch.bfloat16).requires_grad_()
    loss = residual_loss(logits, LABELS, SETS, 0.9, epsilon, epsilon, smoothing=0.1).loss
    loss.backward()
    assert loss.dtype == torch.float32 and bool(loss.isfinite()) and bool(logits.grad.isfinite().all())
