"""The weights of a network under the names of plain torchvision or timm, where its encoder is theirs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lt_bench.models.timm_encoder import TimmEncoder, installed
from lt_bench.predict.predictor import Predictor
from lt_bench.predict.scenes import ScenePredictor
from lt_bench.stage_two.lws import ScaledLinear


class Weights(NamedTuple):
    """Tensors by name, and the lines of Python that build what they load into; () where no other library has it.

    ``images`` is what that takes, in Python: ``images`` as they are preprocessed, or resized.
    """

    state: dict[str, Tensor]
    code: tuple[str, ...] = ()
    images: str = "images"


def weights(predictor: Predictor | ScenePredictor) -> Weights:
    """The tensors of both networks.

    A ResNet of torchvision has its names there, with ``fc`` where the classifier is linear in the features, and a
    network of timm those of timm; else names begin with ``encoder`` or ``classifier``.
    """
    encoder, head = predictor.encoder.state_dict(), _linear(predictor.classifier)
    if (
        head is not None
        and isinstance(predictor, Predictor)
        and isinstance(predictor.encoder, TimmEncoder)
        and (found := _timm(predictor, *head))
    ):
        return found
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


def _timm(predictor: Predictor, weight: Tensor, bias: Tensor) -> Weights | None:
    """Those of timm's network with a classifier; None where that has other tensors, or computes other logits."""
    encoder, classes = predictor.encoder, len(weight)
    assert isinstance(encoder, TimmEncoder)
    name = encoder.network.pretrained_cfg.get("classifier")  # type: ignore[union-attr, operator]
    if not isinstance(name, str):
        return None
    state = _whole({**encoder.network.state_dict(), f"{name}.weight": weight, f"{name}.bias": bias})
    settings = {"num_classes": classes, **encoder.shape}
    try:
        plain = installed().create_model(encoder.model, **settings)
        plain.load_state_dict(state)
    except Exception:  # what networks raise for tensors and settings that they do not have is not listed
        return None
    size = predictor.transform.size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if not torch.allclose(plain.eval()(encoder.resized(images)), predictor.logits(images), rtol=1e-4, atol=1e-4):
            return None
    words = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    code = ("import timm", f"model = timm.create_model({encoder.model!r}, {words})")
    own = encoder.input.size
    if size == own:
        return Weights(state, code)
    resize = f"torch.nn.functional.interpolate(images, ({own}, {own}), mode={encoder.input.interpolation!r}"
    return Weights(state, code, f"{resize}{', antialias=True' if size > own else ''})")


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
