"""A frozen encoder with trained modules in its blocks: which there are, how large, and what each kind trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.adapters import (
    Bottleneck,
    Form,
    LowRankAttention,
    Masked,
    Prompts,
    ScaledShifted,
    Switched,
    own_positions,
    shared_positions,
)

MODULES = ("adaptformer", "adapter", "lora", "vpt_shallow", "vpt_deep", "ssf", "arbitrary")
OF_BLOCKS = (*MODULES, "blocks")  # kinds that only a plain vision transformer can have
PROMPTS = 10
LINEAR = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
PARTS = {"all": LINEAR, "attention": LINEAR[:2], "mlp": LINEAR[2:]}
Blocks = int | Sequence[int] | None


class AdaptedBlock(nn.Module):
    """timm's ``Block`` with further terms: prompts before it, one module beside its MLP or one behind it.

    x' = x + attention(norm1(x)); out = x' + mlp(norm2(x')) + beside(x'), or + behind(mlp(norm2(x'))). Where a block
    scales its branches (LayerScale), ``beside`` is added outside of that, unscaled.
    """

    def __init__(
        self,
        block: nn.Module,
        *,
        prompts: nn.Module | None = None,
        beside: nn.Module | None = None,
        behind: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.block, self.prompts, self.beside, self.behind = block, prompts, beside, behind

    def forward(self, x: Tensor, *masks: Any, **of_attention: Any) -> Tensor:
        """Shapes: (B, N, width) -> (B, N', width), N' = N but for prompts."""
        block: Any = self.block
        if self.prompts is not None:
            x = self.prompts(x)
        x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x), *masks, **of_attention)))
        y = block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
        out: Tensor = x + y
        if self.beside is not None:
            out = out + self.beside(x)
        return out if self.behind is None else out + self.behind(y)


def transformer_in(encoder: nn.Module) -> nn.Module | None:
    """timm's plain vision transformer inside an encoder; None where there is another network."""
    for part in encoder.modules():
        if _kind(part) == "timm.models.vision_transformer.VisionTransformer":
            return part
    return None


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def require_blocks(encoder: nn.Module, kind: str) -> Any:
    """The vision transformer whose blocks a kind of fine-tuning changes.

    Raises SettingError with the reason for a network that has none, or blocks of another form.
    """
    others = "one of none, full, head, head_first, bitfit, layernorm for this network"
    transformer: Any = transformer_in(encoder)
    if transformer is None:
        raise SettingError("kind", f"{others}, which is no plain vision transformer of timm", kind, "full")
    strange = {_kind(block) for block in transformer.blocks} - {"timm.models.vision_transformer.Block"}
    if strange:
        raise SettingError("kind", f"{others}, whose blocks are {', '.join(sorted(strange))}", kind, "full")
    if kind == "arbitrary" and any(block.attn.qkv.bias is None for block in transformer.blocks):
        raise SettingError("kind", "another kind for a network whose attention has no biases", kind, "adaptformer")
    if kind.startswith("vpt") and transformer.global_pool != "token":
        said = (
            f"another kind for a network that pools by global_pool={transformer.global_pool}: prompts would be pooled"
        )
        raise SettingError("kind", said, kind, "adaptformer")
    return transformer


def chosen(blocks: Blocks, depth: int) -> range:
    """The numbers of the blocks that are meant: all for None, the last k, or i to j - 1; raises SettingError."""
    first, last = (0, depth) if blocks is None else (depth - blocks, depth) if isinstance(blocks, int) else (0, 0)
    if not (blocks is None or isinstance(blocks, int)):
        first, last = blocks if len(blocks) == 2 else (0, 0)
    if not 0 <= first < last <= depth:
        raise SettingError("blocks", f"null, 1 to {depth} last blocks, or [first, end] of {depth}", blocks, "null")
    return range(first, last)


def usual_size(kind: str, num_classes: int, depth: int, width: int, form: Form = "lift", part: str = "all") -> float:
    """The width of a bottleneck, the number of prompts, or the share of trained entries, where none is given.

    Modules have about as many parameters as the classifier.
    """
    if kind == "arbitrary":
        if form == "lift":
            return max(0.001, math.floor(1000 * num_classes / (12 * depth * width)) / 1000)
        entries = {"all": 12 * width + 9, "attention": 4 * width + 4, "mlp": 8 * width + 5}[part]
        return num_classes / (depth * entries)
    if kind.startswith("vpt") and form == "lift":
        return PROMPTS
    divisor = {"lora": 4, "vpt_shallow": 1, "vpt_deep": 1}.get(kind, 2) if form == "lift_plus" else 2
    return 2 ** max(0, math.floor(math.log2(num_classes / (divisor * depth))))


def attach(
    encoder: nn.Module,
    kind: str,
    size: float,
    blocks: Blocks = None,
    *,
    form: Form = "lift",
    part: str = "all",
    seed: int = 0,
) -> list[nn.Parameter]:
    """Put modules of a kind into the blocks of an encoder, in place, and return their parameters.

    Weights must be loaded before, as names change. ``part`` and ``seed`` are for ``arbitrary``: the linear layers of a
    block that have trained entries, and the seed of the choice.
    Raises SettingError for a network, a size or blocks that cannot be.
    """
    transformer = require_blocks(encoder, kind)
    if not (0 < size <= 1 if kind == "arbitrary" else size >= 1 and size == int(size)):
        rule = "a share above 0, at most 1" if kind == "arbitrary" else "a whole number from 1"
        raise SettingError("size", rule, size, "null")
    numbers, width = chosen(blocks, len(transformer.blocks)), transformer.embed_dim
    before = {id(parameter) for parameter in encoder.parameters()}
    if kind in ("lora", "ssf", "arbitrary"):
        changes: dict[str, Callable[[nn.Module], None]] = {
            "lora": partial(_low_rank, size=int(size)),
            "ssf": partial(_scale_shift, form=form),
            "arbitrary": _masks(size, form, part, seed),
        }
        for number in numbers:
            changes[kind](transformer.blocks[number])
    else:
        patch = transformer.patch_embed.patch_size
        bound = math.sqrt(6 / (3 * patch[0] * patch[1] + width))
        for number in numbers[:1] if kind == "vpt_shallow" else numbers:
            former = 0 if number == numbers[0] else int(size)
            added: dict[str, nn.Module]
            if kind.startswith("vpt"):
                added = {"prompts": Prompts(width, int(size), bound, former, form)}
            else:
                place = "beside" if kind == "adaptformer" else "behind"
                added = {place: Bottleneck(width, int(size), kind == "adaptformer", form)}
            transformer.blocks[number] = AdaptedBlock(transformer.blocks[number], **added)
    return [parameter for parameter in encoder.parameters() if id(parameter) not in before]


def _replace(block: nn.Module, place: str, make: Callable[[Any], nn.Module]) -> None:
    above, _, name = place.rpartition(".")
    parent = block.get_submodule(above)
    setattr(parent, name, make(getattr(parent, name)))


def _low_rank(block: nn.Module, size: int) -> None:
    _replace(block, "attn.qkv", lambda layer: LowRankAttention(layer, size))


def _scale_shift(block: nn.Module, form: Form) -> None:
    norms = ("norm1", "norm2") if form == "lift" else ()
    for place in (*norms, *LINEAR):
        _replace(block, place, lambda layer: ScaledShifted(layer, len(layer.weight)))


def _masks(share: float, form: Form, part: str, seed: int) -> Callable[[nn.Module], None]:
    generator = torch.Generator("cpu").manual_seed(seed)

    def change(block: nn.Module) -> None:
        for place in PARTS[part]:
            _replace(block, place, masked)

    def masked(layer: nn.Linear) -> nn.Module:
        positions = shared_positions(layer, share, generator) if form == "lift" else own_positions(layer, share, seed)
        return Masked(layer, positions)

    return change


@contextmanager
def without_modules(encoder: nn.Module) -> Iterator[None]:
    """Context: the features are those of the frozen network, also of kinds that do not start neutral."""
    parts = [part for part in encoder.modules() if isinstance(part, Switched)]
    for part in parts:
        part.active = False
    try:
        yield
    finally:
        for part in parts:
            part.active = True
