"""LWS: the authors' scaled logits, and nothing but the scales is trained."""

import pytest
import torch
from helpers.engine_parts import Constant, FixedBatches, Vectors, one_process, stage, training
from helpers.golden_vectors import DOUBLE_LOSS, PRECISIONS, SINGLE, golden
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.models.heads import NormalizedLinear
from lt_bench.preflight.validate import validate
from lt_bench.stage_two.lws import LearnableWeightScaling, ScaledLinear

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
INFO = TrainInfo(LABELS, 3, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", ["a", "b"])
def test_logits_loss_and_gradient_are_the_authors(name, dtype, tolerance):
    case = golden("cb_lws", name)
    classes, width = case["weight"].shape
    linear = nn.Linear(width, classes).to(dtype)
    linear.load_state_dict({"weight": case["weight"], "bias": case["bias"]})
    method = LearnableWeightScaling(augment=False).build(
        Vectors(feature_dim=width), linear, TrainInfo(case["labels"], classes, 1)
    )
    method.classifier.scales.data = case["scales"].to(dtype)
    features = case["features"].to(dtype)
    terms = method(Batch((features,), case["labels"], torch.arange(len(features))), 0, 0, one_process(None))
    terms["loss"].backward()
    logits = method.classifier(features).detach()
    torch.testing.assert_close(logits, case["logits"].to(dtype), **tolerance)
    exact = DOUBLE_LOSS if dtype == torch.float64 else SINGLE
    torch.testing.assert_close(terms["loss"].detach(), case["loss"].to(dtype), **exact)
    torch.testing.assert_close(method.classifier.scales.grad, case["grad_scales"].to(dtype), **tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_untrained_it_is_the_classifier_of_stage_one(bias):
    linear = nn.Linear(8, 3, bias=bias)
    features = torch.randn(5, 8)
    expected = linear(features).detach()
    assert torch.equal(ScaledLinear(linear)(features).detach(), expected)


def test_nothing_but_the_scales_is_trained(tmp_path):
    method = LearnableWeightScaling(augment=False).build(Vectors(), nn.Linear(8, 3), INFO)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    source = FixedBatches([Batch((torch.randn(28, 8),), LABELS, torch.arange(28))])
    settings = training(2, 28, momentum=0.9, weight_decay=0.1)
    Trainer(method, source, settings, Constant(0.1), one_process(source), stage(tmp_path)).fit()
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.scales"}
    assert method.classifier.scales.shape == (3,)


def test_a_scale_moves_the_logits_of_its_class_alone():
    linear = nn.Linear(8, 30)
    scaled = ScaledLinear(linear)
    with torch.no_grad():
        scaled.scales[7] = 2.0
    features = torch.randn(4, 8)
    ratio = (scaled(features) / linear(features)).detach()
    expected = torch.ones(4, 30)
    expected[:, 7] = 2.0
    torch.testing.assert_close(ratio, expected)


@pytest.mark.parametrize("classifier", [None, NormalizedLinear(8, 3)])
def test_a_classifier_that_is_not_linear_is_refused(classifier):
    with pytest.raises(ValueError, match="stage_two=lws .* set stage_two=cb"):
        LearnableWeightScaling().build(Vectors(), classifier, INFO)


def test_its_recipe_is_class_aware_on_a_half_cosine_without_warm_up():
    config = validate(compose(["dataset=cifar100_lt", "method=ce", "stage_two=lws"]))
    settings, cb = config.stage_two.train, validate(compose(["dataset=cifar100_lt"])).stage_two.train
    assert settings is not None and cb is not None
    for name in ("epochs", "batch_size", "lr", "sampler", "optimizer"):
        assert getattr(settings, name) == getattr(cb, name)
    assert (settings.sampler, settings.optimizer["momentum"]) == ("class_aware", 0.9)
    assert settings.schedule["span"] == "from_peak" and "warm_epochs" not in settings.schedule
