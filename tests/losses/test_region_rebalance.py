"""The losses of Region Rebalance against the authors' heads, and their limits."""

import pytest
import torch
import torch.nn.functional as F
from helpers.fingerprints import hashed
from helpers.golden_vectors import golden
from torch import nn

from lt_bench.losses.region_rebalance import log_prior, region_loss, region_rebalance, two_pass_losses
from lt_bench.losses.segmentation_ce import enlarged, pixel_loss
from lt_bench.models.masks import NO_LABEL
from lt_bench.models.regions import class_means, image_bias, predicted_regions, reduced_mask, true_regions

CLOSE = {"rtol": 1e-5, "atol": 2e-6}
SINGLE = {"rtol": 2e-4, "atol": 1e-5}
TERMS = ("pixel", "pixel_biased", "pixel_masked", "region_predicted", "region_true")
BOTH = pytest.mark.parametrize(("dtype", "close"), [(torch.float64, CLOSE), (torch.float32, SINGLE)])


def weighted(terms, case):
    """The terms with the weights of a case, as the authors add them up."""
    weights = {"pixel": float(case["main_weight"]), "region": float(case["region_weight"])}
    return {name: weights[name.split("_")[0]] * terms[f"loss_{name}"] for name in TERMS}


def options(case, dtype):
    prior = log_prior(case["image_counts"].to(dtype)) if bool(case["prior"]) else None
    return prior, {"smooth": float(case["smooth"]), "negatives": bool(case["negatives"])}


def assert_terms(terms, case, close):
    for name, term in terms.items():
        torch.testing.assert_close(
            term.double(), case[f"loss_{name}"].double(), rtol=max(1e-6, close["rtol"] / 10), atol=0
        )
    total = sum(terms.values())
    torch.testing.assert_close(total.double(), case["loss"], rtol=max(1e-6, close["rtol"] / 10), atol=0)
    return total


def all_regions(logits, labels, classes):
    """Logits of all regions, those that occur in their places."""
    rows = labels.clamp(max=classes)
    full = logits.new_zeros(classes + 1, logits.shape[1]).index_copy(0, rows, logits)
    return full, torch.zeros(classes + 1, dtype=torch.bool).index_fill(0, rows, True)


@BOTH
@pytest.mark.parametrize("number", range(5))
def test_losses_of_logits_are_those_of_the_authors(number, dtype, close):
    case = golden("region_rebalance_losses", f"c{number}")
    names = ("pixel_logits", "region_logits_true", "region_logits_predicted")
    inputs = {name: case[name].to(dtype).requires_grad_() for name in names}
    pixels, true, predicted = inputs.values()
    assert torch.equal(reduced_mask(case["mask"], *pixels.shape[2:]), case["mask_reduced"])
    prior, how = options(case, dtype)
    regions = all_regions(true, case["region_labels_true"], pixels.shape[1])
    terms = weighted(two_pass_losses(pixels, case["mask"], regions, predicted, prior, **how), case)
    gradients = torch.autograd.grad(assert_terms(terms, case, close), list(inputs.values()))
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(gradient, case[f"grad_{name}"].to(dtype), **close)


@BOTH
@pytest.mark.parametrize("number", range(3))
def test_losses_of_features_are_those_of_the_authors(number, dtype, close):
    case = golden("region_rebalance_head", f"c{number}")
    parameters = {name: case[name].to(dtype).requires_grad_() for name in case if f"grad_{name}" in case}
    of = parameters.__getitem__

    def branch(rows):
        hidden = F.linear(rows, of("region_hidden_weight"), of("region_hidden_bias")).relu()
        return F.linear(hidden, of("region_classifier_weight"), of("region_classifier_bias"))

    def logits_of(features):
        return torch.einsum("cd,ndhw->nchw", of("pixel_weight"), features) + of("pixel_bias")[:, None, None]

    features, mask = of("features"), case["mask"]
    logits = logits_of(features)
    prior, how = options(case, dtype)
    torch.testing.assert_close(logits, case["pixel_logits"].to(dtype), **close)
    regions, occurs = true_regions(features, mask, logits.shape[1])
    torch.testing.assert_close(branch(regions[occurs]), case["region_logits_true"].to(dtype), **close)
    assert torch.equal(occurs.nonzero()[:, 0], case["region_labels_true"].clamp(max=logits.shape[1]))
    terms = weighted(region_rebalance(features, logits, mask, branch, prior, **how), case)
    total = assert_terms(terms, case, close)
    for (name, _), gradient in zip(
        parameters.items(), torch.autograd.grad(total, list(parameters.values())), strict=True
    ):
        torch.testing.assert_close(gradient, case[f"grad_{name}"].to(dtype), **close)
    tested = case["eval_features"].to(dtype)
    plain = logits_of(tested)
    bias = image_bias(branch(predicted_regions(tested, plain)))
    torch.testing.assert_close(plain + bias[:, :, None, None], case["eval_logits"].to(dtype), **close)


def test_the_training_only_form_is_that_of_the_authors():
    case = golden("region_rebalance_training_only", "c0")
    classes, features = len(case["image_counts"]), case["features"].double().requires_grad_()
    reduction = (6 / features.shape[1]) ** 0.5 * hashed(0, (128, features.shape[1]))
    reduction.requires_grad_()
    norm = nn.BatchNorm2d(128).double()
    norm.weight.data, norm.bias.data = 0.5 + 0.1 * hashed(0, (128,)), 0.1 * hashed(1000, (128,))
    norm.running_mean, norm.running_var = 0.1 * hashed(2000, (128,)), 1 + 0.1 * hashed(4000, (128,))
    hidden = nn.Linear(128, 512).double(), nn.Linear(512, classes).double()
    for layer in hidden:
        layer.weight.data = (3 / layer.in_features) ** 0.5 * hashed(0, layer.weight.shape)
        layer.bias.data = 0.1 * hashed(3000, layer.bias.shape)
    means, occurs = class_means(norm(torch.einsum("rd,ndhw->nrhw", reduction, features)), case["mask"], classes)
    logits = float(case["scale"]) * hidden[1](hidden[0](means).relu())
    labels = torch.arange(classes)
    torch.testing.assert_close(logits[occurs], case["region_logits"].double(), **CLOSE)
    prior = log_prior(case["image_counts"].double())
    loss = float(case["weight"]) * region_loss(logits, labels, occurs, prior, float(case["smooth"]))
    torch.testing.assert_close(loss, case["loss"], rtol=1e-6, atol=0)
    found = torch.autograd.grad(loss, (features, reduction, hidden[1].bias))
    for gradient, name in zip(found, ("features", "reduce_weight", "classifier_bias"), strict=True):
        torch.testing.assert_close(gradient, case[f"grad_{name}"].double(), **CLOSE)
    torch.testing.assert_close(norm.running_mean, case["reduce_running_mean_after"], **CLOSE)
    torch.testing.assert_close(norm.running_var, case["reduce_running_var_after"], **CLOSE)
    pixels = enlarged(case["pixel_logits"].double(), case["mask"].shape)
    torch.testing.assert_close(
        pixel_loss(pixels, case["mask"], ignored_in_mean=True), case["loss_pixel_all"], rtol=1e-6, atol=0
    )


def made(count=2, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 3, 4, 5, generator=generator, dtype=torch.float64)
    logits = torch.randn(count, classes, 4, 5, generator=generator, dtype=torch.float64)
    mask = torch.randint(0, classes, (count, 8, 10), generator=generator).to(torch.uint8)
    branch = nn.Linear(3, classes + 1).double()
    nn.init.normal_(branch.weight, generator=generator)
    return features, logits, mask, branch


def test_classes_in_another_order_change_nothing():
    features, logits, mask, branch = made()
    prior, order = torch.randn(4, dtype=torch.float64), torch.tensor([2, 0, 3, 1])
    before = region_rebalance(features, logits, mask, branch, prior, smooth=0.5)
    renamed = nn.Linear(3, 5).double()
    with_last = torch.cat([order, torch.tensor([4])])
    renamed.weight.data, renamed.bias.data = branch.weight.data[with_last], branch.bias.data[with_last]
    names = order.argsort()[mask.long()].to(torch.uint8)
    after = region_rebalance(features, logits[:, order], names, renamed, prior[order], smooth=0.5)
    for name, term in before.items():
        torch.testing.assert_close(after[name], term)


def test_a_batch_without_labels_costs_nothing_at_its_pixels_and_one_class_is_no_trouble():
    features, logits, mask, branch = made()
    nothing = region_rebalance(features, logits, torch.full_like(mask, NO_LABEL), branch, None, smooth=0.5)
    assert all(nothing[f"loss_{name}"].item() == 0 for name in TERMS[:3])
    alone = region_rebalance(features, logits, torch.zeros_like(mask), branch, None, smooth=0.5, negatives=False)
    assert all(bool(torch.isfinite(term)) for term in alone.values())
    mask[1] = NO_LABEL
    beside, first = (pixel_loss(enlarged(x, mask.shape), y) for x, y in ((logits, mask), (logits[:1], mask[:1])))
    torch.testing.assert_close(beside, first)


def test_regions_stay_what_they_are_where_features_and_mask_are_enlarged_together():
    features, _, mask, _ = made()
    mask = reduced_mask(mask, 4, 5)
    larger = features.repeat_interleave(3, 2).repeat_interleave(3, 3)
    double = mask.repeat_interleave(6, 1).repeat_interleave(6, 2)
    for one, other in zip(true_regions(features, mask, 4), true_regions(larger, double, 4), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [(8, 10), (7, 9), (1, 12)])
def test_class_means_are_those_of_enlarged_maps(size):
    features, _, _, _ = made()
    mask = torch.randint(0, 4, (2, *size), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    mask[0, :, ::3] = NO_LABEL
    means, occurs = class_means(features, mask, 5)
    large = F.interpolate(features, size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    assert occurs.tolist() == [True] * 4 + [False]
    for label in range(4):
        torch.testing.assert_close(means[label], large[mask == label].mean(0))
