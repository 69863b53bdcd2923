"""How much of a network is convolutions, for what treats these alone."""

from __future__ import annotations

from torch import nn

LEAST_SHARE = 0.5  # of a network's parameters: a network of convolutions has nearly all in them


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions of a network by name that multiply images with their weight as it stands.

    Those that standardise it first are none of them: a weight that is set to 0 would not stay so.
    """
    found = {place: part for place, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    return {place: part for place, part in found.items() if type(part).forward is nn.Conv2d.forward}


def convolution_share(network: nn.Module) -> float:
    """The part of a network's parameters that are weights of ``convolutions``, from 0 to 1."""
    total = sum(parameter.numel() for parameter in network.parameters())
    return sum(part.weight.numel() for part in convolutions(network).values()) / max(1, total)
