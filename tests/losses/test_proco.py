"""Contrastive logits of ProCo: the authors' values over epochs, their meaning as an expectation, precision, limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden

from lt_bench.errors import UsageError, keyed
from lt_bench.geometry.vmf import MAX_KAPPA, mean_direction_and_kappa, random_means, update_means
from lt_bench.losses.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from lt_bench.losses.proco import contrastive_logits

CASES = ["proco_loss_a", "proco_loss_b", "proco_loss_c"]
ARRAYS = {torch.float64: {"rtol": 1e-5, "atol": 2e-6}, torch.float32: {"rtol": 2e-4, "atol": 1e-5}}
OFFICIAL = {"rtol": 1e-6, "atol": 1e-6}
STATISTICS = ("kappa_after_view1", "kappa_after_view2", "count_used_after", "count_current_after")


def replay(case, dtype, bessel):
    """What estimation and loss give in every step, beside the authors' values; means at the end of an epoch."""
    vectors = golden(case)
    means = vectors["init_mean_current"].to(dtype).repeat(2, 1, 1)
    counts = torch.zeros(means.shape[:2], dtype=dtype)
    for epoch in range(int(vectors["epochs"])):
        means = torch.stack([means[1], vectors[f"e{epoch}_reset_mean"].to(dtype)])
        counts = torch.stack([counts[1], torch.zeros_like(counts[1])])
        for step in range(int(vectors["steps_per_epoch"])):
            expected = golden(case, f"e{epoch}s{step}")
            yield one_step(expected, means, counts, vectors, bessel), expected
        found = {"mean_used_end": means[0], "mean_current_end": means[1]}
        yield found, {name: vectors[f"e{epoch}_{name}"] for name in found}


def one_step(given, means, counts, vectors, bessel):
    views = [given[f"view{number}"].to(means.dtype).requires_grad_() for number in (1, 2)]
    found, losses, prior = {}, [], log_prior(vectors["cls_num_list"])
    for number, view in enumerate(views, start=1):
        update_means(means, counts, view.detach(), given["labels"])
        directions, kappa = mean_direction_and_kappa(means[0])
        logits = contrastive_logits(view, directions, kappa, float(vectors["temperature"]), bessel)
        losses.append(logit_adjusted_cross_entropy(logits, given["labels"], prior, 1.0))
        found |= {f"kappa_after_view{number}": kappa, f"logits{number}": logits.detach()}
    loss = (losses[0] + losses[1]) / 2
    found["grad_view1"], found["grad_view2"] = torch.autograd.grad(loss, views)
    return found | {
        "loss": loss.detach(),
        "count_used_after": counts[0].clone(),
        "count_current_after": counts[1].clone(),
    }


@pytest.mark.parametrize("dtype", ARRAYS)
@pytest.mark.parametrize("case", CASES)
def test_statistics_and_exact_logits_are_the_authors_over_all_steps(case, dtype):
    compared = 0
    for found, expected in replay(case, dtype, "asymptotic"):
        for name in [name for name in found if name in STATISTICS or name.startswith("mean")]:
            torch.testing.assert_close(found[name].double(), expected[name].double(), **ARRAYS[dtype])
            compared += 1
        if "logits1" in found:
            dense = expected["kappa_after_view1"] >= 1e4
            for of_classes, atol in ((~dense, 1e-6), (dense, 1e-4)):
                rtol, atol = (0, atol) if dtype == torch.float64 else (2e-4, 1e-4)
                exact = expected["logits1_exact"][:, of_classes]
                torch.testing.assert_close(found["logits1"][:, of_classes].double(), exact, rtol=rtol, atol=atol)
    assert compared >= 10


@pytest.mark.parametrize("dtype", ARRAYS)
@pytest.mark.parametrize("case", CASES)
def test_logits_losses_and_gradients_are_close_to_those_of_the_authors_recurrence(case, dtype):
    for found, expected in replay(case, dtype, "asymptotic"):
        for name in [name for name in found if name.startswith(("logits", "loss", "grad"))]:
            kind = name.rstrip("12").removesuffix("_view")
            rtol, atol = {"logits": (0, 2e-3), "loss": (1e-3, 0), "grad": (1e-2, 1e-3)}[kind]
            torch.testing.assert_close(found[name].double(), expected[name].double(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", CASES)
def test_with_the_authors_recurrence_everything_is_theirs(case):
    for found, expected in replay(case, torch.float64, "official"):
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name].double(), **OFFICIAL)


def classes(count=4, dim=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)
    return directions.to(dtype), torch.logspace(0.5, 2.5, count, dtype=torch.float64).to(dtype)


def unit_features(count=6, dim=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1).to(dtype)


def test_a_logit_is_the_log_of_the_expected_similarity():
    """On the circle the expectation is a sum over many angles."""
    features, (directions, kappa) = unit_features(dim=2), classes(dim=2)
    angles = torch.arange(4000, dtype=torch.float64) * (2 * math.pi / 4000)
    points = torch.stack([angles.cos(), angles.sin()])
    density = kappa[:, None] * (directions @ points)  # log, up to a constant of the class
    joint = density[None] + (features @ points)[:, None] / 0.2
    expected = joint.logsumexp(2) - density.logsumexp(1)
    torch.testing.assert_close(contrastive_logits(features, directions, kappa, 0.2), expected, rtol=0, atol=1e-7)


def test_a_dense_class_is_its_mean_and_a_uniform_one_tells_nothing():
    features, (directions, _) = unit_features(), classes()
    dense = contrastive_logits(features, directions, torch.full((4,), 1e9, dtype=torch.float64), 0.1)
    torch.testing.assert_close(dense, features @ directions.T / 0.1, rtol=0, atol=1e-5)
    uniform = contrastive_logits(features, directions, torch.zeros(4, dtype=torch.float64), 0.1)
    torch.testing.assert_close(uniform, uniform[:1, :1].expand(6, 4))


@pytest.mark.parametrize("dim", [2, 8, 9, 40, 41])
def test_gradients_are_those_of_the_function_for_even_and_odd_dimensions(dim):
    features, (directions, kappa) = unit_features(3, dim).requires_grad_(), classes(dim=dim)
    assert torch.autograd.gradcheck(lambda rows: contrastive_logits(rows, directions, kappa, 0.1), features)
    labels, prior = torch.tensor([0, 3, 1]), log_prior(torch.tensor([9, 4, 2, 1]))
    assert torch.autograd.gradcheck(
        lambda rows: logit_adjusted_cross_entropy(contrastive_logits(rows, directions, kappa, 0.1), labels, prior, 1.0),
        features,
    )


def test_each_feature_and_each_class_stands_alone():
    features, (directions, kappa) = unit_features(), classes()
    logits = contrastive_logits(features, directions, kappa, 0.1)
    rows, columns = torch.tensor([3, 0, 5, 1, 2, 4]), torch.tensor([2, 0, 3, 1])
    moved = contrastive_logits(features[rows], directions[columns], kappa[columns], 0.1)
    torch.testing.assert_close(moved, logits[rows][:, columns])


@pytest.mark.parametrize("dim", [16, 33, 128, 2048])
def test_single_precision_is_enough_up_to_the_largest_dimension_and_concentration(dim):
    features, directions = unit_features(5, dim), classes(7, dim)[0]
    directions[:5] = F.normalize(features + 0.1 * directions[:5], dim=1)  # large and small cosines
    kappa = torch.tensor([1e-2, 10.0, 600.0, 1e4, 1e5, 1e6, 1e6], dtype=torch.float64)
    results = []
    for dtype in (torch.float64, torch.float32):
        rows = features.to(dtype).requires_grad_()
        logits = contrastive_logits(rows, directions.to(dtype), kappa.to(dtype), 0.1)
        (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), rows)
        assert logits.dtype == gradient.dtype == dtype
        results.append((logits.detach().double(), gradient.double()))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("bessel", ["asymptotic", "official"])
def test_classes_of_one_image_give_finite_losses_and_gradients(bessel):
    features = unit_features(4, 64, torch.float32).requires_grad_()
    means, counts = random_means(6, 64, torch.Generator().manual_seed(0)).repeat(2, 1, 1), torch.zeros(2, 6)
    labels = torch.tensor([5, 0, 1, 2])
    update_means(means, counts, features.detach(), labels)
    directions, kappa = mean_direction_and_kappa(means[0])
    assert kappa[labels].tolist() == [MAX_KAPPA] * 4 and float(kappa[3:5].max()) < 400
    logits = contrastive_logits(features, directions, kappa, 0.1, bessel)
    loss = logit_adjusted_cross_entropy(logits, labels, log_prior(torch.ones(6)), 1.0)
    (gradient,) = torch.autograd.grad(loss, features)
    assert bool(loss.isfinite()) and bool(gradient.isfinite().all())


def test_a_feature_opposite_to_a_class_of_its_own_concentration_is_finite():
    """There kappa mu + z / temperature is zero, and rounding may leave its square below."""
    directions = F.normalize(torch.randn(200, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    for bessel in ("asymptotic", "official"):
        features = (-directions).clone().requires_grad_()
        logits = contrastive_logits(features, directions, torch.full((200,), 10.0), 0.1, bessel)
        (gradient,) = torch.autograd.grad(logits.sum(), features)
        assert bool(logits.isfinite().all()) and bool(gradient.isfinite().all())


def test_computes_in_single_precision_under_autocast():
    features, (directions, kappa) = unit_features(dim=64).bfloat16().requires_grad_(), classes(4, 64, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = contrastive_logits(features, directions, kappa, 0.1)
        (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), features)
    expected = contrastive_logits(features.detach().float(), directions, kappa, 0.1)
    torch.testing.assert_close(logits.detach(), expected)
    assert logits.dtype == torch.float32 and bool(gradient.isfinite().all())


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for images, number in ((5, 4), (40, 30)):
        features, (directions, kappa) = unit_features(images, 64).requires_grad_(), classes(number, 64)
        with HostReads() as reads, OpCount() as kernels:
            contrastive_logits(features, directions, kappa, 0.1).sum().backward()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("bessel", ["asymptotic", "official"])
def test_is_the_same_on_a_gpu(bessel):
    features, (directions, kappa) = unit_features(), classes()
    there = contrastive_logits(features.cuda(), directions.cuda(), kappa.cuda(), 0.1, bessel)
    torch.testing.assert_close(there.cpu(), contrastive_logits(features, directions, kappa, 0.1, bessel))


def test_wrong_settings_are_refused_with_what_to_type():
    features, (directions, kappa) = unit_features(dim=9), classes(dim=9)
    for bessel in ("official", "exact"):
        with pytest.raises(UsageError, match=r"method\.bessel=asymptotic"), keyed("method"):
            contrastive_logits(features, directions, kappa, 0.1, bessel)
