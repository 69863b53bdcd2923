"""The weights of a network under the names of plain torchvision, where its encoder is torchvision's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lt_bench.predict.predictor import Predictor
from lt_bench.stage_two.lws import ScaledLinear


class Whole(nn.Module):
    """Encoder and classifier as one network: images (B, 3, S, S), normalised, to logits (B, C)."""

    def __init__(self, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, S, S) -> (B, C)."""
        logits: Tensor = self.classifier(self.encoder(images))
        return logits


class Weights(NamedTuple):
    """Tensors by name, and the lines of Python that build what they load into; () where no other library has it."""

    state: dict[str, Tensor]
    code: tuple[str, ...] = ()


def weights(predictor: Predictor) -> Weights:
    """The tensors of both networks.

    A ResNet of torchvision has its names there, with ``fc`` where the classifier is linear in the features; else
    names begin with ``encoder`` or ``classifier``.
    """
    encoder, head = predictor.encoder.state_dict(), _linear(predictor.classifier)
    code = _resnet(predictor.encoder, len(predictor.class_names))
    if code and head is not None:
        return Weights(_whole({**encoder, "fc.weight": head[0], "fc.bias": head[1]}), code)
    own = {f"classifier.{name}": tensor for name, tensor in predictor.classifier.state_dict().items()}
    return Weights(_whole({f"encoder.{name}": tensor for name, tensor in encoder.items()} | own))


def _linear(classifier: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Weight (C, D) and bias (C,) of a classifier that is linear in the features; None for another."""
    if type(classifier) is nn.Linear:
        weight, bias, scales = classifier.weight, classifier.bias, None
    elif type(classifier) is ScaledLinear:
        weight, bias, scales = classifier.linear.weight, classifier.linear.bias, classifier.scales
    else:
        return None
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    return (weight, bias) if scales is None else (scales[:, None] * weight, scales * bias)


def _resnet(encoder: nn.Module, classes: int) -> tuple[str, ...]:
    """The lines that build torchvision's ResNet of an encoder's shape; () where it is none, or was changed."""
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    if type(encoder) is not ResNet or not isinstance(encoder.maxpool, nn.MaxPool2d):
        return ()
    block = type(encoder.get_submodule("layer1.0"))
    blocks = [len(getattr(encoder, f"layer{number}")) for number in range(1, 5)]
    widths = {"groups": encoder.groups, "width_per_group": encoder.base_width}
    if block not in (BasicBlock, Bottleneck):
        return ()
    with torch.device("meta"):
        plain = ResNet(block, blocks, num_classes=classes, **widths).state_dict()
    own = encoder.state_dict()
    if {name: one.shape for name, one in own.items()} != {
        name: one.shape for name, one in plain.items() if not name.startswith("fc.")
    }:
        return ()
    more = "".join(
        f", {name}={value}" for name, value in widths.items() if widths != {"groups": 1, "width_per_group": 64}
    )
    return (
        f"from torchvision.models.resnet import {block.__name__}, ResNet",
        f"model = ResNet({block.__name__}, {blocks}, num_classes={classes}{more})",
    )


def _whole(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as files have them: on the CPU, each in memory of its own."""
    return {name: one.detach().cpu().clone(memory_format=torch.contiguous_format) for name, one in state.items()}
