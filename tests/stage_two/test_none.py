"""No stage two: stage one's classifier is kept as it is."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.stage_two.none import KeepClassifier

INFO = TrainInfo(torch.arange(3), 3, 1)


def test_the_classifier_is_kept():
    classifier = nn.Linear(8, 3)
    rule = KeepClassifier()
    assert rule.finish(rule.build(Vectors(), classifier, INFO), one_process(None)) is classifier


def test_without_a_classifier_there_is_nothing_to_keep():
    with pytest.raises(ValueError, match="stage_two=cb"):
        KeepClassifier().build(Vectors(), None, INFO)
