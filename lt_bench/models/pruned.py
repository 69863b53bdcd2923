"""A second way through a network: shared weights behind masks, and batch norms of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from lt_bench.models.convolutions import convolutions


class PrunedBranch(nn.Module):
    """A network with some of its convolutions' weights masked and with other batch norms; all else is shared.

    The network is not part of the branch and does not change: it is the dense branch, whose batch norms are copied
    here when the branch is made, with their running statistics. Masks (bool, True = kept) begin with all weights;
    batch norms, biases and linear layers have none. The gradient of a masked weight is zero.
    Source: Jiang et al., ICML 2021 (SDCLR), section 3.  Deviation: none; the authors' code puts both batch norms into
    one layer and sets a flag on every layer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        parts = dict(network.named_modules())
        self.norm_places = [place for place, part in parts.items() if isinstance(part, _BatchNorm)]
        self.weight_places = [f"{place}.weight" for place in convolutions(network)]
        self.norms = nn.ModuleList(copy.deepcopy(parts[place]) for place in self.norm_places)
        for number, weight in enumerate(self.weights(network)):
            self.register_buffer(f"mask{number}", torch.ones_like(weight, dtype=torch.bool))

    def weights(self, network: nn.Module) -> list[Tensor]:
        """The weights of the network's convolutions, in the order of its modules."""
        return [network.get_parameter(place) for place in self.weight_places]

    def masks(self) -> list[Tensor]:
        """One mask for each of ``weights``."""
        return [self.get_buffer(f"mask{number}") for number in range(len(self.weight_places))]

    def set_masks(self, masks: Sequence[Tensor]) -> None:
        """Take over masks of the shapes of ``weights``."""
        for mask, new in zip(self.masks(), masks, strict=True):
            mask.copy_(new)

    def forward(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """What the network makes of its inputs in this branch, in the network's own mode."""
        weights = zip(self.weight_places, self.weights(network), self.masks(), strict=True)
        replaced = {place: weight * mask for place, weight, mask in weights}
        for place, norm in zip(self.norm_places, self.norms, strict=True):
            for name, tensor in chain(norm.named_parameters(), norm.named_buffers()):
                replaced[f"{place}.{name}"] = tensor
        outputs: Tensor = functional_call(network, replaced, (inputs,))
        return outputs


class PrunedEncoder(nn.Module):
    """An encoder in its pruned branch, as a network of its own; ``feature_dim`` is the encoder's."""

    def __init__(self, encoder: nn.Module, branch: PrunedBranch) -> None:
        super().__init__()
        self.encoder, self.branch = encoder, branch
        self.feature_dim: int = encoder.feature_dim  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, feature_dim)."""
        features: Tensor = self.branch(self.encoder, images)
        return features

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """A network of the encoder's own shape that computes the same: masked weights, and the branch's batch norms."""
        network = copy.deepcopy(self.encoder)
        pairs = zip(self.branch.weights(network), self.branch.masks(), strict=True)
        for weight, mask in pairs:
            weight.copy_(weight * mask)
        for place, norm in zip(self.branch.norm_places, self.branch.norms, strict=True):
            network.get_submodule(place).load_state_dict(norm.state_dict())
        return network
