"""Post-hoc logit adjustment: the logits less tau times the log prior, with and without a bias of stage one's."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.logit_adjustment import PostHocAdjustment

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
PRIOR = torch.tensor([20 / 28, 6 / 28, 2 / 28]).log()
INFO = TrainInfo(LABELS, 3, 10)


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("bias", [True, False])
def test_takes_the_prior_from_the_logits_and_leaves_stage_one_alone(tau, bias):
    torch.manual_seed(0)
    trained, features = nn.Linear(8, 3, bias=bias), torch.randn(5, 8)
    rule, before = PostHocAdjustment(tau), trained(features)
    adjusted = rule.finish(rule.build(Vectors(), trained, INFO), one_process(None))
    torch.testing.assert_close(adjusted(features), before - tau * PRIOR)
    assert torch.equal(trained(features), before)


def test_refuses_a_negative_strength_and_a_classifier_that_is_not_linear():
    with pytest.raises(SettingError, match="tau"):
        PostHocAdjustment(-1.0)
    with pytest.raises(UsageError, match="needs a plain linear classifier"):
        PostHocAdjustment().build(Vectors(), NormalizedLinear(8, 3, 30.0), INFO)
