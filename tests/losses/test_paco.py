"""PaCo's loss: golden values and gradients, the equations as loops, both forms of the denominator, properties."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import FOLDER, golden

from lt_bench.errors import UsageError, keyed
from lt_bench.losses.contrast import positive_sums
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import PaCoSettings, official_log_prior, paco

PRECISIONS = [(torch.float64, {"rtol": 1e-5, "atol": 2e-6}), (torch.float32, {"rtol": 2e-4, "atol": 1e-5})]
CASES = [("paco_loss_lt", c) for c in range(3)] + [("paco_loss_full", c) for c in range(2)]
CASES += [("gpaco_loss", c) for c in range(3)]
FIELDS = ("temperature", "alpha", "base_temperature", "beta", "gamma", "supt", "smooth")


def settings_of(case):
    return PaCoSettings(**{name: float(case[name]) for name in FIELDS if name in case})


def prior_of(case, official):
    if "cls_num_list" not in case:
        return torch.zeros(int(case["num_classes"]))
    return (official_log_prior if official else log_prior)(case["cls_num_list"])


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize(("file", "case"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_equals_the_golden_loss_and_gradients(file, case, official, dtype, tolerance):
    vectors = golden(file, f"c{case}")
    logits = vectors["sup_logits"].to(dtype).requires_grad_()
    embeddings = vectors["features"].to(dtype).requires_grad_()
    prior = prior_of(vectors, official)
    loss = paco(logits, embeddings, vectors["labels"], prior, settings_of(vectors), official)
    assert loss.dtype == dtype
    rtol = 1e-6 if dtype == torch.float64 else tolerance["rtol"]
    torch.testing.assert_close(loss.detach().double(), vectors["loss"], rtol=rtol, atol=0)
    for_logits, for_embeddings = torch.autograd.grad(loss, (logits, embeddings))
    torch.testing.assert_close(for_logits.double(), vectors["grad_sup_logits"].double(), **tolerance)
    torch.testing.assert_close(for_embeddings.double(), vectors["grad_features"].double(), **tolerance)


@pytest.mark.parametrize(("official", "name"), [(False, "loss_exact"), (True, "loss_official")])
def test_where_the_official_epsilon_dominates(official, name):
    with np.load(FOLDER / "paco_loss_extreme.npz") as arrays:
        case = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
    prior, settings = prior_of(case, official), settings_of(case)
    loss = paco(case["sup_logits"].double(), case["features"].double(), case["labels"], prior, settings, official)
    torch.testing.assert_close(loss, case[name], rtol=1e-6, atol=0)


def example(anchors=6, others=11, classes=5, width=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(anchors + others, width, generator=generator, dtype=dtype), dim=1)
    logits = torch.randn(anchors, classes, generator=generator, dtype=dtype)
    labels = torch.randint(classes - 1, (anchors + others,), generator=generator)  # the last class is absent
    return logits, embeddings, labels, log_prior(torch.arange(1, classes + 1) ** 2)


ALL = PaCoSettings(0.3, alpha=0.07, base_temperature=0.1, beta=0.6, gamma=0.4, supt=1.7, smooth=0.2)


def by_loops(logits, embeddings, labels, prior, s):
    """Weights and scores of every item of every anchor's softmax, one by one."""
    total, classes = 0.0, logits.shape[1]
    for i, own in enumerate(labels[: len(logits)].tolist()):
        weighted, weights, denominator = 0.0, 0.0, 0.0
        items = []
        for j in range(classes):
            share = 1 - s.smooth if j == own else s.smooth / (classes - 1)
            items.append((s.beta * share, 1.0, float(logits[i, j] + prior[j]) / s.supt))
        for k, label in enumerate(labels.tolist()):
            if k != i and label >= 0:
                items.append((s.alpha * (label == own), s.gamma, float(embeddings[i] @ embeddings[k]) / s.temperature))
        denominator = math.log(sum(factor * math.exp(score) for _, factor, score in items))
        weighted = sum(weight * (score - denominator) for weight, _, score in items)
        weights = sum(weight for weight, _, _ in items)
        total -= weighted / weights
    return s.temperature / (s.base_temperature or s.temperature) * total / len(logits)


SOME = [ALL, replace(ALL, base_temperature=None, smooth=0.0), PaCoSettings(0.05, 0.0), replace(ALL, gamma=0.0)]


@pytest.mark.parametrize("settings", SOME)
@pytest.mark.parametrize("absent", [False, True])
def test_equals_the_equations_written_as_loops(settings, absent):
    logits, embeddings, labels, prior = example()
    if absent:
        labels[8:13] = -1
    loss = paco(logits, embeddings, labels, prior, settings)
    assert float(loss) == pytest.approx(by_loops(logits, embeddings, labels, prior, settings), rel=1e-12)


@pytest.mark.parametrize("gamma", [ALL.gamma, 0.0])
@pytest.mark.parametrize("official", [False, True])
def test_gradient_is_that_of_the_function(official, gamma):
    logits, embeddings, labels, prior = example(3, 4)
    labels[4] = -1
    inputs = (logits.requires_grad_(), embeddings.requires_grad_())
    # at this temperature 1e-12 is not felt; where it is, the maximum is a constant in the authors' gradient (below)
    settings = replace(ALL, gamma=gamma)
    assert torch.autograd.gradcheck(lambda x, z: paco(x, z, labels, prior, settings, official), inputs)


def test_without_gamma_and_alpha_it_is_prior_adjusted_cross_entropy():
    logits, embeddings, labels, prior = example()
    loss = paco(logits, embeddings, labels, prior, PaCoSettings(0.05, alpha=0.0, gamma=0.0))
    torch.testing.assert_close(loss, F.cross_entropy(logits + prior, labels[:6]))


def test_official_gradient_is_that_of_the_authors_arithmetic():
    logits, embeddings, labels, prior = example(width=17)
    embeddings = torch.linalg.qr(embeddings).Q.requires_grad_()  # unit rows, at right angles
    logits = (logits - 40).requires_grad_()  # all scores are far below the anchors' scores with themselves, 1 / 0.03
    temperature, anchors = 0.03, len(logits)
    settings = PaCoSettings(temperature, alpha=0.05)
    allowed = 1 - torch.eye(anchors, len(labels), dtype=torch.float64)
    weights = 0.05 * (labels[:anchors, None] == labels).double() * allowed
    weights = torch.cat([F.one_hot(labels[:anchors], logits.shape[1]), weights], 1)
    scores = torch.cat([logits + prior, embeddings[:anchors] @ embeddings.T / temperature], 1)
    scores = scores - scores.max(1, keepdim=True).values.detach()
    allowed = torch.cat([torch.ones_like(logits), allowed], 1)
    log_probability = scores - torch.log((scores.exp() * allowed).sum(1, keepdim=True) + 1e-12)
    expected = -((weights * log_probability).sum(1) / weights.sum(1)).mean()

    found = paco(logits, embeddings, labels, prior, settings, official_epsilon=True)
    exact = paco(logits, embeddings, labels, prior, settings)
    assert float((found - exact).detach()) > 1
    gradients = [torch.autograd.grad(loss, (logits, embeddings)) for loss in (found, expected)]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_does_not_depend_on_the_order_of_anchors_rows_or_classes():
    logits, embeddings, labels, prior = example()
    generator = torch.Generator().manual_seed(1)
    anchors, rows, classes = (torch.randperm(n, generator=generator) for n in (6, 11, 5))
    order = torch.cat([anchors, 6 + rows])
    new_names = classes.argsort()
    permuted = paco(logits[anchors][:, classes], embeddings[order], new_names[labels[order]], prior[classes], ALL)
    torch.testing.assert_close(permuted, paco(logits, embeddings, labels, prior, ALL))


def test_rows_without_a_label_have_no_influence_at_all():
    logits, embeddings, labels, prior = example()
    labels[9:14] = -1
    results = []
    for noise in (0.0, 1.0):
        rows = embeddings.clone()
        rows[9:14] = noise * 3
        inputs = (logits.clone().requires_grad_(), rows.requires_grad_())
        loss = paco(*inputs, labels, prior, ALL, official_epsilon=True)
        results.append((loss, *torch.autograd.grad(loss, inputs)))
        assert not results[-1][2][9:14].any()
    assert all(torch.equal(left, right) for left, right in zip(*results, strict=True))
    kept = labels >= 0
    shorter = paco(logits, embeddings[kept], labels[kept], prior, ALL, official_epsilon=True)
    torch.testing.assert_close(shorter, results[0][0].detach())


def test_without_rows_of_its_class_an_anchor_has_the_cross_entropy_among_all_items():
    logits, embeddings, _, prior = example(2, 3)
    labels = torch.tensor([0, 1, 2, 3, 2])
    scores = (embeddings[:2] @ embeddings.T / 0.1).fill_diagonal_(-torch.inf)
    everything = torch.cat([logits + prior, scores], 1)
    loss = paco(logits, embeddings, labels, prior, PaCoSettings(0.1, alpha=0.5))
    torch.testing.assert_close(loss, F.cross_entropy(everything, labels[:2]))


def test_positive_sums_leave_out_the_anchor_and_rows_of_no_class():
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 5.0], [3.0, 1.0], [7.0, 7.0]])
    sums, counts = positive_sums(embeddings, torch.tensor([2, 0, 2, 2, -1]), anchors=2, num_classes=3)
    assert sums.tolist() == [5.0, 0.0] and counts.tolist() == [2.0, 0.0]


def test_official_prior_has_a_constant_in_every_share():
    counts = torch.tensor([10**9, 1])
    expected = torch.log(counts.double() / counts.sum() + 1e-9)
    torch.testing.assert_close(official_log_prior(counts), expected, rtol=1e-14, atol=1e-16)
    assert float(official_log_prior(counts)[1] - log_prior(counts)[1]) == pytest.approx(math.log(2), rel=1e-6)


def test_computes_in_single_precision_under_autocast():
    logits, embeddings, labels, prior = example(16, 48, dtype=torch.float32)
    settings = PaCoSettings(0.05, alpha=0.01)
    inputs = (logits.bfloat16().requires_grad_(), embeddings.bfloat16().requires_grad_())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = paco(*inputs, labels, prior, settings)
    gradients = torch.autograd.grad(loss, inputs)
    assert loss.dtype == torch.float32 and all(bool(gradient.isfinite().all()) for gradient in gradients)
    torch.testing.assert_close(loss, paco(*(x.detach().float() for x in inputs), labels, prior, settings))


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for anchors, others, classes in ((4, 8, 3), (32, 80, 40)):
        logits, embeddings, labels, prior = example(anchors, others, classes)
        with HostReads() as reads, OpCount() as kernels:
            paco(logits.requires_grad_(), embeddings.requires_grad_(), labels, prior, ALL, True).backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


BAD = [{"temperature": 0}, {"base_temperature": -1.0}, {"alpha": -0.1}, {"beta": 0}, {"gamma": -0.1}]
BAD += [{"gamma": math.inf}, {"supt": math.inf}, {"smooth": 1}]


@pytest.mark.parametrize("values", BAD)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(UsageError, match=f"set method.{next(iter(values))}="), keyed("method"):
        PaCoSettings(**({"temperature": 0.1, "alpha": 0.1} | values))
