"""Balanced Softmax: the prior while training, raw logits afterwards, and CE's recipe."""

import pytest
import torch
import torch.nn.functional as F
from helpers.engine_parts import Vectors, one_process

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import DataError, UsageError, keyed
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.ce import CE
from lt_bench.methods.logit_adjustment import LogitAdjustment
from lt_bench.preflight.validate import validate

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
INPUTS = torch.randn(28, 6, generator=torch.Generator().manual_seed(1))
BATCH = Batch((INPUTS,), LABELS, torch.arange(28))


def built(kind=BalancedSoftmax, **settings):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 10), **settings)


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_loss_is_that_of_logits_plus_log_prior_and_the_classifier_gives_raw_logits(tau):
    method = built(tau=tau)
    terms = method(BATCH, 0, 0, one_process(None))
    features = method.encoder(INPUTS)
    raw = features @ method.classifier.weight.T + method.classifier.bias
    prior = tau * torch.tensor([20 / 28, 6 / 28, 2 / 28]).log()
    torch.testing.assert_close(terms["loss"], F.cross_entropy(raw + prior, LABELS))
    torch.testing.assert_close(method.classifier(features), raw)
    assert float(terms["accuracy"]) == float((raw.argmax(1) == LABELS).float().mean())
    assert BalancedSoftmax.provides_classifier and not terms["accuracy"].requires_grad


def test_without_tau_it_is_cross_entropy_with_the_same_state():
    balanced, plain = built(tau=0.0), built(CE)
    run = one_process(None)
    torch.testing.assert_close(balanced(BATCH, 0, 0, run)["loss"], plain(BATCH, 0, 0, run)["loss"])
    assert balanced.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("kind", [BalancedSoftmax, LogitAdjustment])
def test_class_weights_are_those_of_the_effective_number_and_the_loss_that_of_the_joined_batch(kind):
    weighted, plain, run = built(kind, class_weight_beta=0.99), built(kind), one_process(None)
    logits = weighted.classifier(weighted.encoder(INPUTS)) + torch.tensor([20 / 28, 6 / 28, 2 / 28]).log()
    weights = effective_number_weights(torch.tensor([20, 6, 2]), 0.99).float()
    torch.testing.assert_close(weighted(BATCH, 0, 0, run)["loss"], F.cross_entropy(logits, LABELS, weights))
    assert weighted.state_dict().keys() == plain.state_dict().keys()
    assert (weighted.joined, plain.joined) == (True, False)
    words = [f"method={short_name(kind)}", "train.microbatch=16"]
    assert validate(compose(words)).train.microbatch == 16
    with pytest.raises(UsageError, match="is no mean over independent images"):
        validate(compose([*words, "method.class_weight_beta=0.99"]))


def short_name(kind):
    return "balanced_softmax" if kind is BalancedSoftmax else "logit_adjustment"


def test_refuses_class_weights_of_no_effective_number():
    with pytest.raises(UsageError, match=r"method.class_weight_beta is at least 0 .* below 1"), keyed("method"):
        built(class_weight_beta=1.0)


@pytest.mark.parametrize("tau", [-1.0, float("nan"), float("inf")])
def test_refuses_a_tau_that_is_no_strength(tau):
    with pytest.raises(UsageError, match="method.tau="), keyed("method"):
        built(tau=tau)


def test_refuses_a_class_without_images():
    with pytest.raises(DataError, match="cut a shorter tail"):
        BalancedSoftmax(Vectors(), TrainInfo(LABELS, 4, 10))


@pytest.mark.parametrize("dataset", ["digits_lt", "cifar10_lt", "cifar100_lt"])
def test_trains_as_cross_entropy_does(dataset):
    balanced, plain = (
        validate(compose([f"method={name}", f"dataset={dataset}"])) for name in ("balanced_softmax", "ce")
    )
    assert balanced.train == plain.train and balanced.stage_two.name == "none"
    assert balanced.method["tau"] == 1.0
