"""The multi-task loss: golden values and gradients, the equations as loops, class weights, properties."""

import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden

from lt_bench.losses.gpaco_multitask import gpaco_multitask
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import official_log_prior
from lt_bench.losses.supcon import supcon

PRECISIONS = [(torch.float64, {"rtol": 1e-5, "atol": 2e-6}), (torch.float32, {"rtol": 2e-4, "atol": 1e-5})]


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("file", ["gpaco_multitask_lt", "gpaco_multitask_balanced"])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_equals_the_golden_loss_and_gradients(file, official, dtype, tolerance):
    case = golden(file, "c0")
    logits = case["sup_logits"].to(dtype).requires_grad_()
    embeddings = case["features"].to(dtype).requires_grad_()
    prior = torch.zeros(10, dtype=torch.float64)
    if "cls_num_list" in case:
        prior = (official_log_prior if official else log_prior)(case["cls_num_list"])
    weights = case.get("class_weight", torch.ones(10))
    words = (prior, weights, float(case["temperature"]), float(case["alpha"]), official)
    loss = gpaco_multitask(logits, embeddings, case["labels"], *words)
    rtol = 1e-6 if dtype == torch.float64 else tolerance["rtol"]
    torch.testing.assert_close(loss.detach().double(), case["loss"], rtol=rtol, atol=0)
    for_logits, for_embeddings = torch.autograd.grad(loss, (logits, embeddings))
    torch.testing.assert_close(for_logits.double(), case["grad_sup_logits"].double(), **tolerance)
    torch.testing.assert_close(for_embeddings.double(), case["grad_features"].double(), **tolerance)


def example(anchors=6, others=9, classes=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(anchors)
    embeddings = F.normalize(torch.randn(anchors + others, 4, generator=generator, dtype=dtype), dim=1)
    logits = torch.randn(anchors, classes, generator=generator, dtype=dtype)
    labels = torch.randint(classes, (anchors + others,), generator=generator)
    return logits, embeddings, labels, log_prior(torch.arange(1, classes + 1)), torch.arange(1.0, classes + 1)


def by_loops(logits, embeddings, labels, prior, weights, temperature, alpha):
    total = 0.0
    for i, own in enumerate(labels[: len(logits)].tolist()):
        total -= float((logits[i] + prior).log_softmax(0)[own])
        rows = [k for k, label in enumerate(labels.tolist()) if k != i and label >= 0]
        scores = {k: float(embeddings[i] @ embeddings[k]) / temperature for k in rows}
        denominator = math.log(sum(math.exp(score) for score in scores.values()))
        positives = [k for k in rows if labels[k] == own]
        if positives:
            mean = sum(scores[k] - denominator for k in positives) / len(positives)
            total -= alpha * float(weights[own]) * mean
    return total / len(logits)


@pytest.mark.parametrize("missing", [slice(0, 0), slice(8, 12)])
def test_equals_the_equations_written_as_loops(missing):
    logits, embeddings, labels, prior, weights = example()
    labels[2], labels[missing] = 3, -1
    labels[labels == 3] = torch.where(torch.arange(int((labels == 3).sum())) == 0, 3, 0)  # one anchor is alone
    loss = gpaco_multitask(logits, embeddings, labels, prior, weights, 0.3, 0.5)
    assert float(loss) == pytest.approx(by_loops(logits, embeddings, labels, prior, weights, 0.3, 0.5), rel=1e-12)


def test_without_a_queue_is_cross_entropy_plus_supcon():
    logits, embeddings, _, prior, _ = example(8, 0)
    images = torch.tensor([0, 1, 1, 3])
    loss = gpaco_multitask(logits, embeddings, images.repeat(2), prior, torch.ones(4), 0.2, 0.7)
    expected = F.cross_entropy(logits + prior, images.repeat(2))
    expected = expected + 0.7 * supcon(embeddings.unflatten(0, (2, 4)).transpose(0, 1), images, 0.2, 0.2)
    torch.testing.assert_close(loss, expected)


def test_does_not_depend_on_the_order_of_anchors_or_rows():
    logits, embeddings, labels, *words = example()
    generator = torch.Generator().manual_seed(1)
    anchors, rows = (torch.randperm(n, generator=generator) for n in (6, 9))
    order = torch.cat([anchors, 6 + rows])
    permuted = gpaco_multitask(logits[anchors], embeddings[order], labels[order], *words, 0.2, 0.5)
    torch.testing.assert_close(permuted, gpaco_multitask(logits, embeddings, labels, *words, 0.2, 0.5))


def test_gradient_is_that_of_the_function():
    logits, embeddings, labels, *words = example(3, 4)
    inputs = (logits.requires_grad_(), embeddings.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, z: gpaco_multitask(x, z, labels, *words, 0.3, 0.5), inputs)


def test_computes_in_single_precision_under_autocast():
    logits, embeddings, labels, *words = example(16, 32, dtype=torch.float32)
    inputs = (logits.bfloat16().requires_grad_(), embeddings.bfloat16().requires_grad_())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = gpaco_multitask(*inputs, labels, *words, 0.05, 0.5)
    gradients = torch.autograd.grad(loss, inputs)
    assert loss.dtype == torch.float32 and all(bool(gradient.isfinite().all()) for gradient in gradients)
    torch.testing.assert_close(loss, gpaco_multitask(*(x.detach().float() for x in inputs), labels, *words, 0.05, 0.5))


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for anchors, others, classes in ((4, 8, 3), (32, 80, 40)):
        logits, embeddings, labels, *words = example(anchors, others, classes)
        with HostReads() as reads, OpCount() as kernels:
            gpaco_multitask(logits.requires_grad_(), embeddings.requires_grad_(), labels, *words, 0.2, 0.5).backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]
