"""τ-normalisation: the authors' logits at three values of tau, their predictions at 21."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from helpers.golden_vectors import SINGLE, golden
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.tau_norm import TauNormalized


def normalized(linear, tau):
    rule = TauNormalized(tau)
    info = TrainInfo(torch.arange(linear.out_features), linear.out_features, 1)
    return rule.finish(rule.build(Vectors(), linear, info), one_process(None))


def linear_of(case):
    linear = nn.Linear(case["weight"].shape[1], case["weight"].shape[0])
    linear.load_state_dict({"weight": case["weight"], "bias": case["bias"]})
    return linear


@pytest.mark.parametrize(("tau", "key"), [(0.0, "logits_tau0"), (0.7, "logits_tau07"), (1.0, "logits_tau1")])
@pytest.mark.parametrize("name", ["a", "b"])
def test_logits_are_the_authors(name, tau, key):
    case = golden("cb_tau_norm", name)
    logits = normalized(linear_of(case), tau)(case["features"])
    torch.testing.assert_close(logits.detach(), case[key], **SINGLE)


@pytest.mark.parametrize("name", ["a", "b"])
def test_predictions_are_the_authors_at_all_values_of_the_scan(name):
    case = golden("cb_tau_norm", name)
    assert len(case["taus"]) == 21
    found = [normalized(linear_of(case), tau)(case["features"]).argmax(1) for tau in case["taus"].tolist()]
    assert torch.equal(torch.stack(found), case["preds_all"].long())


@pytest.mark.parametrize("classes", [2, 30])
def test_norms_are_a_power_of_the_old_and_directions_are_kept(classes):
    linear = nn.Linear(8, classes)
    old = linear.weight.detach().clone()
    for tau in (0.0, 0.5, 1.0, 2.0):
        new = normalized(linear, tau).weight
        torch.testing.assert_close(new.norm(dim=1), old.norm(dim=1) ** (1 - tau))
        torch.testing.assert_close(nn.functional.cosine_similarity(new, old), torch.ones(classes))
    assert torch.equal(linear.weight, old)  # stage one's classifier is not touched


def test_the_bias_is_gone_and_a_class_of_zero_weights_stays_at_zero():
    linear = nn.Linear(8, 3)
    with torch.no_grad():
        linear.weight[1] = 0.0
    classifier = normalized(linear, 2.0)
    assert classifier.bias is None
    assert torch.isfinite(classifier.weight).all() and torch.equal(classifier.weight[1], torch.zeros(8))


@pytest.mark.parametrize("tau", [-0.1, float("nan"), float("inf")])
def test_a_tau_out_of_range_is_refused(tau):
    with pytest.raises(ValueError, match="tau is a number from 0"):
        TauNormalized(tau)


@pytest.mark.parametrize("classifier", [None, NormalizedLinear(8, 3)])
def test_a_classifier_that_is_not_linear_is_refused(classifier):
    with pytest.raises(ValueError, match="stage_two=tau_norm .* set stage_two=cb"):
        TauNormalized().build(Vectors(), classifier, TrainInfo(torch.arange(3), 3, 1))
