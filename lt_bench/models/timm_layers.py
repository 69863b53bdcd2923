"""How deep the parameters of a network of timm lie, by timm's own rule."""

from __future__ import annotations

from typing import Any

from torch import nn

BEYOND = "beyond"  # stands for the classifier of a network whose classifier has no name


def below_head(encoder: nn.Module) -> dict[int, int] | None:
    """By the identity of a parameter, how many layers it lies below the classifier; None without a network of timm.

    Layers are those that timm decays rates by: of a network with its classifier, so that a norm which shares the
    layer of the classifier, as in ConvNeXt, lies 0 below it.
    Source: Wightman's PyTorch image models, ``param_groups_layer_decay``.  Deviation: none.
    """
    network = _network(encoder)
    if network is None:
        return None
    from timm.models._manipulate import group_with_matcher

    named = dict(network.named_parameters())
    head = f"{(getattr(network, 'pretrained_cfg', None) or {}).get('classifier') or BEYOND}.weight"
    parts = iter([*named.items(), (head, None)])
    layers: dict[str, int] = group_with_matcher(parts, network.group_matcher(coarse=False), reverse=True)
    last = layers.pop(head)
    return {id(named[name]): last - layer for name, layer in layers.items()}


def undecayed(encoder: nn.Module) -> frozenset[int]:
    """By their identity, the parameters of more dimensions that a network of timm wants no weight decay of: tokens."""
    network = _network(encoder)
    names: set[str] = network.no_weight_decay() if callable(getattr(network, "no_weight_decay", None)) else set()
    return frozenset(id(one) for name, one in network.named_parameters() if name in names) if names else frozenset()


def _network(encoder: nn.Module) -> Any:
    return next((part for part in encoder.modules() if callable(getattr(part, "group_matcher", None))), None)
