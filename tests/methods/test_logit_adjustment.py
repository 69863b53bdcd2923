"""The logit-adjusted loss: cross-entropy of logits plus tau times the log prior."""

import pytest
import torch
import torch.nn.functional as F
from helpers.engine_parts import Vectors, one_process

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.methods.logit_adjustment import LogitAdjustment

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
BATCH = Batch((torch.randn(28, 6, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(28))


@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
def test_loss_is_that_of_the_paper(tau):
    method = LogitAdjustment(Vectors(), TrainInfo(LABELS, 3, 10), tau=tau)
    logits = method.classifier(method.encoder(BATCH.views[0]))
    adjusted = logits + tau * torch.tensor([20 / 28, 6 / 28, 2 / 28]).log()
    torch.testing.assert_close(method(BATCH, 0, 0, one_process(None))["loss"], F.cross_entropy(adjusted, LABELS))
