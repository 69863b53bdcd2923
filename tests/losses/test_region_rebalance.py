"""The losses of Region Rebalance against the authors' heads, and their limits."""

import pytest
import torch
import torch.nn.functional as F
from helpers.fingerprints import hashed
from helpers.golden_vectors import golden
from torch import nn

from lt_bench.losses.region_rebalance import (
    log_prior,
    pooled_region_loss,
    region_loss,
    region_rebalance,
    two_pass_losses,
)
from lt_bench.losses.segmentation_ce import pixel_loss
from lt_bench.models.maps import enlarged
from lt_bench.models.masks import NO_LABEL
from lt_bench.models.regions import Pools, image_bias, predicted_regions, reduced_mask, true_regions

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
    return prior, {"smooth": float(case["smooth"]), "negative_weight": float(case["negatives"])}


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
    return full[None], torch.zeros(1, classes + 1, dtype=torch.bool).index_fill(1, rows, True)


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
    (regions,), (occurs,) = true_regions(features, mask, logits.shape[1])
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


@pytest.mark.parametrize("number", [0, 1])
def test_the_training_only_form_is_that_of_the_authors(number):
    """The second case is CeCo's, which has these regions and this loss, rows of unit length and a fixed classifier."""
    case = golden("region_rebalance_training_only", f"c{number}")
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
    of_ceco = bool(case["kind_normalised"])
    if of_ceco:
        hidden[1].weight.data = case["classifier_weight"].double()
        nn.init.zeros_(hidden[1].bias)
    maps = norm(torch.einsum("rd,ndhw->nrhw", reduction, features))
    (means,), (occurs,) = true_regions(maps, case["mask"], classes, resolution="image", ignored=False)
    rows = hidden[0](means).relu()
    logits = float(case["scale"]) * hidden[1](F.normalize(rows) if of_ceco else rows)
    labels = torch.arange(classes)
    assert torch.equal(occurs.nonzero()[:, 0], case["region_labels"])
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
    alone = region_rebalance(features, logits, torch.zeros_like(mask), branch, None, smooth=0.5, negative_weight=0.0)
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
def test_regions_of_pixels_are_means_of_enlarged_maps(size):
    features, _, _, _ = made()
    mask = torch.randint(0, 4, (2, *size), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    mask[0, :, ::3] = NO_LABEL
    (means,), (occurs,) = true_regions(features, mask, 5, resolution="image")
    large = F.interpolate(features, size, mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
    assert occurs.tolist() == [True] * 4 + [False, True]
    for region, label in enumerate([0, 1, 2, 3, NO_LABEL, NO_LABEL]):
        if occurs[region]:
            torch.testing.assert_close(means[region], large[mask == label].mean(0))


@pytest.mark.parametrize("resolution", ["feature", "image"])
def test_pools_have_the_regions_of_their_own_images_on_any_number_of_processes(resolution):
    features, _, mask, _ = made(count=6)
    mask[4:] = NO_LABEL
    regions, occurs = true_regions(features, mask, 4, Pools(4), resolution=resolution)
    for pool, images in enumerate((slice(0, 4), slice(4, 6))):  # the last of a batch that is no multiple is smaller
        (alone,), (there,) = true_regions(features[images], mask[images], 4, resolution=resolution)
        torch.testing.assert_close(regions[pool], alone)
        assert torch.equal(occurs[pool], there)
    own = []  # sums of one of two processes, as the other gets them
    for rank in range(2):
        part = slice(3 * rank, 3 * rank + 3)
        pools = Pools(4, rank, 2, lambda rows: own.append(rows) or rows)
        true_regions(features[part], mask[part], 4, pools, resolution=resolution)
    joint = Pools(4, 0, 2, lambda rows: torch.cat(own))
    torch.testing.assert_close(true_regions(features[:3], mask[:3], 4, joint, resolution=resolution)[0], regions)


def slow_region_loss(features, mask, branch, prior, smooth, size, resolution, ignored):
    """The specification's sentences one after the other: regions of every group, their loss, its mean over groups."""
    height, width = features.shape[2:]
    if resolution == "feature":
        rows = [i * mask.shape[1] // height for i in range(height)]
        columns = [j * mask.shape[2] // width for j in range(width)]
        labels = mask[:, rows][:, :, columns]
    else:
        labels, features = mask, F.interpolate(features, mask.shape[1:], mode="bilinear", align_corners=True)
    groups = []
    for first in range(0, len(mask), size):
        places = {}
        for n in range(first, min(first + size, len(mask))):
            for i, row in enumerate(labels[n].tolist()):
                for j, value in enumerate(row):
                    places.setdefault(value, []).append(features[n, :, i, j])
        losses = []
        for value, found in places.items():
            if value == NO_LABEL and not ignored:
                continue
            likely = (branch(torch.stack(found).mean(0)) + prior).log_softmax(0)
            label = len(prior) - 1 if value == NO_LABEL else value
            others = [likely[other] for other in range(len(prior)) if other != label]
            losses.append(-(smooth * likely[label] + (1 - smooth) / len(others) * sum(others)))
        groups.append(sum(losses) / len(losses))
    return sum(groups) / len(groups)


@pytest.mark.parametrize("resolution", ["feature", "image"])
@pytest.mark.parametrize("ignored", [True, False])
@pytest.mark.parametrize("size", [1, 4, 6])
def test_the_loss_of_groups_is_that_of_a_slow_reference(size, ignored, resolution):
    features, _, _, _ = made(count=6)
    mask = torch.randint(0, 4, (6, 7, 9), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    mask[:, 4:] = NO_LABEL
    mask[5][mask[5] == 2] = 1
    features.requires_grad_()
    branch = nn.Linear(3, 4 + ignored).double()
    prior = log_prior(torch.tensor([50.0, 20, 9, 2], dtype=torch.float64))
    prior = F.pad(prior, (0, 1)) if ignored else prior
    expected = slow_region_loss(features, mask, branch, prior, 0.7, size, resolution, ignored)
    regions, occurs = true_regions(features, mask, 4, Pools(size), resolution=resolution, ignored=ignored)
    found = pooled_region_loss(branch(regions), occurs, prior, 0.7)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, (features, branch.weight)) for loss in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_of_pools_is_the_mean_of_those_that_processes_with_a_pool_each_have():
    features, logits, mask, branch = made(count=6)
    prior, how = torch.randn(4, dtype=torch.float64), {"smooth": 0.5, "extra_prior": 0.5}
    mask[2:4] = 1
    pooled = region_rebalance(features, logits, mask, branch, prior, pools=Pools(2), **how)
    each = [
        region_rebalance(features[part], logits[part], mask[part], branch, prior, **how)
        for part in (slice(0, 2), slice(2, 4), slice(4, 6))
    ]
    for name in ("loss_region_true", "loss_region_predicted"):
        torch.testing.assert_close(pooled[name], torch.stack([one[name] for one in each]).mean())
    weights = torch.ones(2, 5)
    weights[1] = 0  # a pool without a region counts nothing
    some = torch.randn(2, 5, 5)
    alone = region_loss(some[0], torch.arange(5), weights[0])
    torch.testing.assert_close(pooled_region_loss(some, weights), alone)
    assert pooled_region_loss(some, torch.zeros(2, 5)) == 0


def test_negatives_count_between_nothing_and_as_much_as_the_others_and_have_a_prior():
    features, logits, mask, branch = made()
    mask[0] = mask[0].clamp(max=1)
    prior = torch.randn(4, dtype=torch.float64)

    def said(weight, **how):
        return region_rebalance(features, logits, mask, branch, prior, smooth=0.7, negative_weight=weight, **how)

    rows = branch(predicted_regions(features, logits)).flatten(0, 1) + F.pad(prior, (0, 1), value=0.25).log_softmax(0)
    present = torch.tensor([[True, True, False, False], [True] * 4])
    targets = torch.where(present, torch.arange(4), 4).flatten()
    own = F.cross_entropy(rows, targets, reduction="none", label_smoothing=0.3 * 5 / 4)
    weights = torch.where(targets == 4, 0.4, 1.0)
    expected = (weights * own).sum() / weights.sum()
    found = said(0.4, extra_prior=2.718281828459045**0.25)
    torch.testing.assert_close(found["loss_region_predicted"], expected)
    for name in ("loss_region_predicted", "loss_region_true"):
        least, most = sorted(float(said(weight)[name].detach()) for weight in (0.0, 1.0))
        assert least <= said(0.4)[name] <= most
