"""Small trained modules for the blocks of a frozen transformer, as LIFT has them; ``attach`` puts them there.

Source of all formulas and start values: Shi et al., ICML 2024 (LIFT), and its successor LIFT+, authors' code.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Form = Literal["lift", "lift_plus"]


class Bottleneck(nn.Module):
    """LayerNorm, ``width`` -> ``size``, ReLU, back to ``width``: (..., width) -> (..., width), 0 at the start.

    With ``scaled`` the output has a learnable factor that starts at 1 (AdaptFormer; without it, a sequential adapter).
    The first matrix starts normal with variance 1 / (3 width); LIFT+ has a uniform one of the same variance.
    """

    scale: nn.Parameter | None

    def __init__(self, width: int, size: int, scaled: bool, form: Form = "lift") -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        if form == "lift":
            nn.init.normal_(self.down.weight, std=math.sqrt(1 / (3 * width)))
        else:
            nn.init.uniform_(self.down.weight, -math.sqrt(1 / width), math.sqrt(1 / width))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)
        self.register_parameter("scale", nn.Parameter(torch.ones(1)) if scaled else None)

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to the tokens."""
        added: Tensor = self.up(self.down(self.norm(tokens)).relu())
        return added if self.scale is None else added * self.scale


class LowRank(nn.Module):
    """A product of matrices (width, size) and (size, width) over ``size``: (..., width) -> (..., width), 0 at first.

    The first is uniform within +-sqrt(1 / size): PyTorch takes the second dimension for the fan-in, and so do the
    authors. Source: Hu et al., ICLR 2022 (LoRA), in LIFT's form.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(width, size).uniform_(-math.sqrt(1 / size), math.sqrt(1 / size)))
        self.up = nn.Parameter(torch.zeros(size, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to a linear layer's output."""
        return tokens @ self.down @ self.up / self.up.shape[0]


class LowRankAttention(nn.Module):
    """A layer that gives queries, keys and values in one, with a ``LowRank`` beside queries and values."""

    def __init__(self, layer: nn.Linear, size: int) -> None:
        super().__init__()
        self.layer = layer
        self.q, self.v = LowRank(layer.in_features, size), LowRank(layer.in_features, size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shapes: (..., width) -> (..., 3 * width)."""
        q, k, v = self.layer(tokens).chunk(3, dim=-1)
        return torch.cat([q + self.q(tokens), k, v + self.v(tokens)], dim=-1)


class Switched(nn.Module):
    """A module that changes features from the start and can be left out, see ``models.adapted.without_modules``."""

    active = True


class ScaledShifted(Switched):
    """A layer whose outputs of ``width`` values are scaled and shifted; factors start normal around 1, shifts around 0.

    Source: Lian et al., NeurIPS 2022 (SSF), in LIFT's form.
    """

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.scale = nn.Parameter(torch.empty(width).normal_(1.0, 0.02))
        self.shift = nn.Parameter(torch.empty(width).normal_(0.0, 0.02))

    def forward(self, tokens: Tensor) -> Tensor:
        """Shapes: those of the layer."""
        outputs: Tensor = self.layer(tokens)
        return outputs * self.scale + self.shift if self.active else outputs


class Prompts(Switched):
    """``size`` trained tokens, put into a sequence in place of the ``former`` ones that a block before put there.

    They stand at the end and start uniform within +-``bound``; in LIFT+ they stand behind the class token and start
    normal, standard deviation 0.02. Source: Jia et al., ECCV 2022 (VPT), in LIFT's form.
    """

    def __init__(self, width: int, size: int, bound: float, former: int, form: Form = "lift") -> None:
        super().__init__()
        self.former, self.form = former, form
        prompt = torch.empty(size, width)
        self.prompt = nn.Parameter(prompt.uniform_(-bound, bound) if form == "lift" else prompt.normal_(std=0.02))

    def forward(self, tokens: Tensor) -> Tensor:
        """Shapes: (B, N + former, width) -> (B, N + size, width)."""
        if not self.active:
            return tokens
        prompts = self.prompt.to(tokens.dtype).expand(len(tokens), -1, -1)
        if self.form == "lift":
            return torch.cat([tokens[:, : tokens.shape[1] - self.former], prompts], dim=1)
        return torch.cat([tokens[:, :1], prompts, tokens[:, 1 + self.former :]], dim=1)


class Masked(nn.Module):
    """A linear layer of which only the entries that ``trained`` names have values of their own, the rest is frozen.

    ``trained`` are positions in the flat weight and in the bias, each in ascending order, on the CPU.
    """

    weight_positions: Tensor
    bias_positions: Tensor
    values_weight: nn.Parameter
    values_bias: nn.Parameter

    def __init__(self, layer: nn.Linear, trained: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.layer = layer
        for name, own, positions in zip(("weight", "bias"), (layer.weight, layer.bias), trained, strict=True):
            self.register_buffer(f"{name}_positions", positions.to(own.device), persistent=False)
            self.register_parameter(f"values_{name}", nn.Parameter(own.detach().flatten()[positions].clone()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shapes: those of the layer."""
        weight = self.layer.weight.flatten().index_copy(0, self.weight_positions, self.values_weight)
        bias = self.layer.bias.index_copy(0, self.bias_positions, self.values_bias)
        return nn.functional.linear(inputs, weight.view_as(self.layer.weight), bias)


def shared_positions(layer: nn.Linear, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random share of the entries of a layer's (out, in + 1) matrix, whose last column is the bias (LIFT)."""
    columns = layer.in_features + 1
    total = layer.out_features * columns
    drawn = torch.randperm(total, generator=generator, device="cpu")[: int(share * total)].sort().values
    rows, column = drawn // columns, drawn % columns
    of_weight = column < layer.in_features
    return (rows * layer.in_features + column)[of_weight], rows[~of_weight]


def own_positions(layer: nn.Linear, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """A random share of the entries of weight and of bias, each from a generator of its own of one seed (LIFT+)."""

    def drawn(total: int) -> Tensor:
        order = torch.randperm(total, generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
        return order[: int(share * total)].sort().values

    return drawn(layer.weight.numel()), drawn(layer.out_features)
