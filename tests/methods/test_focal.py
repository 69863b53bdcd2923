"""Focal: SimCLR with another loss."""

import pytest
import torch
from helpers.engine_parts import FixedBatches, Vectors, one_process

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.focal import focal_nt_xent
from lt_bench.methods.focal import Focal

LABELS = torch.zeros(6, dtype=torch.int64)


def built(**settings):
    torch.manual_seed(0)
    return Focal(Vectors(), TrainInfo(LABELS, 1, 1), projection_dim=5, **settings)


def test_the_loss_is_the_mean_of_the_focal_loss():
    views = tuple(torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0)))
    batch = Batch(views, LABELS, torch.arange(6))
    expected = focal_nt_xent(*built().embed_views(batch), 0.3, 1.5).mean()
    found = built(temperature=0.3, gamma=1.5)(batch, 0, 0, one_process(FixedBatches([batch])))
    assert found.keys() == {"loss"}
    torch.testing.assert_close(found["loss"], expected)


def test_a_negative_gamma_is_refused():
    with pytest.raises(ValueError, match="gamma is 0 or more, not -1"):
        built(gamma=-1)
