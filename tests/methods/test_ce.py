"""CE: plain cross-entropy on the first view."""

import torch
from helpers.engine_parts import Vectors, one_process
from torch import nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.methods.ce import CE


def test_loss_and_accuracy_are_those_of_the_linear_classifier():
    labels = torch.tensor([0, 1, 2, 2])
    torch.manual_seed(0)
    method = CE(Vectors(), TrainInfo(labels, 3, 1))
    inputs = torch.randn(4, 6)
    terms = method(Batch((inputs,), labels, torch.arange(4)), 0, 0, one_process(None))
    logits = method.classifier(method.encoder(inputs))
    torch.testing.assert_close(terms["loss"], nn.functional.cross_entropy(logits, labels))
    assert float(terms["accuracy"]) == float((logits.argmax(1) == labels).float().mean())
    assert CE.provides_classifier and method.views == ("crop_flip",)
