"""LDAM-DRW as stage two: the authors' normalised classifier, two of their steps, their epochs of re-weighting."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from helpers.golden_vectors import SINGLE, golden

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.ldam import ldam, ldam_margins
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.models.heads import NormalizedLinear
from lt_bench.preflight.validate import validate
from lt_bench.stage_two.ldam_drw import LDAMDRW


@pytest.mark.parametrize("name", ["a", "b"])
def test_classifier_gradients_and_two_steps_are_the_authors(name):
    case = golden("ldam_step", name)
    features = case["features"].clone().requires_grad_()
    classes = len(case["counts"])
    classifier = NormalizedLinear(features.shape[1], classes)
    classifier.weight.data = case["weight_in_out"].clone()
    margins = ldam_margins(case["counts"], float(case["max_m"])).float()
    weights = case["class_weight"].float() if bool(case["has_weight"]) else None
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1, momentum=0.9)
    for step in range(2):
        cosines = classifier(features)
        loss = ldam(cosines, case["labels"].long(), margins, float(case["s"]), weights)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            torch.testing.assert_close(cosines.detach(), case["cosine_logits"].float(), **SINGLE)
            torch.testing.assert_close(loss.detach(), case["loss"].float(), **SINGLE)
            torch.testing.assert_close(classifier.weight.grad, case["grad_weight"].float(), **SINGLE)
            torch.testing.assert_close(features.grad, case["grad_features"].float(), **SINGLE)
        optimizer.step()
    torch.testing.assert_close(classifier.weight.detach(), case["weight_after_2_sgd"].float(), **SINGLE)


LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))


def built(**settings):
    torch.manual_seed(0)
    encoder = Vectors()
    return LDAMDRW(augment=False, **settings).build(encoder, None, TrainInfo(LABELS, 3, 10)), encoder


@pytest.mark.parametrize("start", [0, 160])
def test_weights_are_active_in_the_epochs_of_the_sources(start):
    stored = golden("ldam_drw_weights", "stage")
    betas = stored["sbcl_stage2_beta" if start == 0 else "official_ldam_beta"]
    method, _ = built(drw_start_epoch=start)
    run = one_process(None)
    features = torch.randn(28, 8, generator=torch.Generator().manual_seed(1))
    batch = Batch((features,), LABELS, torch.arange(28))
    margins = ldam_margins(torch.bincount(LABELS), 0.5)
    for epoch, beta in zip(stored["epochs"].tolist(), betas.tolist(), strict=True):
        if epoch not in (0, 1, 100, 158, 159, 160, 161, 199):
            continue
        weights = effective_number_weights(torch.bincount(LABELS), beta)
        expected = ldam(method.classifier(features) / 30, LABELS, margins, 30.0, weights)
        torch.testing.assert_close(method(batch, epoch, 0, run)["loss"], expected)


def test_logits_are_scaled_cosines_so_that_their_softmax_is_a_probability():
    method, _ = built()
    features = torch.randn(5, 8)
    logits = method.classifier(features)
    directions = torch.nn.functional.normalize(features, dim=1)
    weights = torch.nn.functional.normalize(method.classifier.weight, dim=0)
    torch.testing.assert_close(logits, 30 * directions @ weights)


def test_the_deferred_schedule_of_the_paper_is_an_option():
    config = validate(compose(["stage_two=ldam_drw", "stage_two.drw_start_epoch=160"]))
    assert config.stage_two.options["drw_start_epoch"] == 160
    assert validate(compose(["stage_two=ldam_drw"])).stage_two.options["drw_start_epoch"] == 0
