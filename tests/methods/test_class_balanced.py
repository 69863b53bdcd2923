"""The class-balanced loss: the authors' trace, and cross-entropy for equal counts."""

import torch
from helpers.engine_parts import Vectors, one_process
from helpers.mixing_steps import follow

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.methods.ce import CE
from lt_bench.methods.class_balanced import ClassBalanced

LABELS = torch.arange(12) % 3
BATCH = Batch((torch.randn(12, 6, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(12))


def test_trains_as_the_authors_code_does(tmp_path):
    follow("mixing_step_class_balanced", ClassBalanced, tmp_path)


def test_with_equal_counts_it_is_cross_entropy():
    losses = []
    for kind in (ClassBalanced, CE):
        torch.manual_seed(0)
        losses.append(kind(Vectors(), TrainInfo(LABELS, 3, 10))(BATCH, 0, 0, one_process(None))["loss"])
    torch.testing.assert_close(*losses)
