"""The stages of a network: where they are, the same with other widths, and started anew."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from lt_bench.errors import SettingError
from lt_bench.models.resnet_cifar import BasicBlock, PaddingShortcut, initialise

_FIRST_SHORTCUTS = ("0.0.shortcut.", "0.0.downsample.")  # of the first block of several stages
_LAYERS_PER_STAGE = 3  # of the tiny network: convolution, batch norm, ReLU


class Stage(NamedTuple):
    """A stage of a network: the module that holds it, and under which names."""

    holder: nn.Module
    names: tuple[str, ...]

    def taken(self) -> nn.Module:
        """The stage, which the network no longer has."""
        parts = [self.holder.get_submodule(name) for name in self.names]
        for name in self.names:
            delattr(self.holder, name)
        return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def stages_of(encoder: nn.Module) -> list[Stage]:
    """The stages in turn, what stands in front of the first being none of them; empty for a network without."""
    if isinstance(stages := getattr(encoder, "stages", None), nn.Sequential):
        return [Stage(stages, (name,)) for name, _ in stages.named_children()]
    if hasattr(encoder, "layer1") and hasattr(encoder, "avgpool"):
        return [Stage(encoder, (name,)) for name, _ in encoder.named_children() if name.startswith("layer")]
    if isinstance(layers := getattr(encoder, "layers", None), nn.Sequential):
        names = [name for name, _ in layers.named_children()]
        starts = range(0, len(names), _LAYERS_PER_STAGE)
        return [Stage(layers, tuple(names[start : start + _LAYERS_PER_STAGE])) for start in starts]
    return []


def narrow(tail: nn.Module, factor: float) -> None:
    """Give stages so many times their channels, in place, with new weights; what goes into the first keeps its width.

    Raises SettingError under ``width`` where channels are no whole numbers, or a shortcut cannot be padded evenly.
    """
    convolutions = [name for name, part in tail.named_modules() if isinstance(part, nn.Conv2d)]
    entered = [name for name in convolutions if name == convolutions[0] or name.startswith(_FIRST_SHORTCUTS)]
    for name, part in list(tail.named_modules()):
        holder, _, own = name.rpartition(".")
        if isinstance(part, nn.Conv2d):
            shape: dict[str, Any] = {"kernel_size": part.kernel_size, "stride": part.stride, "padding": part.padding}
            shape |= {"groups": part.groups, "bias": part.bias is not None}
            channels = part.in_channels if name in entered else _times(part.in_channels, factor, part.groups)
            out = _times(part.out_channels, factor, part.groups)
            new: nn.Module = nn.Conv2d(channels, out, **shape)
        elif isinstance(part, nn.BatchNorm2d):
            new = nn.BatchNorm2d(_times(part.num_features, factor))
        else:
            continue
        setattr(tail.get_submodule(holder), own, new)
    for block in tail.modules():
        if isinstance(block, BasicBlock) and isinstance(old := block.shortcut, PaddingShortcut):
            channels, out = block.conv1.in_channels, block.conv2.out_channels
            if (out - channels) % 2:
                rule = (
                    f"one with which {channels} channels grow by an even number, as half of it is padded on each side"
                )
                raise SettingError("width", rule, factor, 1)
            block.shortcut = PaddingShortcut(channels, out, old.stride)


def _times(channels: int, factor: float, groups: int = 1) -> int:
    """So many times the channels; SettingError where that is none, or not the same number for every group."""
    scaled = round(channels * factor)
    if scaled < 1 or scaled != channels * factor or scaled % groups:
        rule = f"one that makes whole numbers of {channels} channels" + (f" in {groups} groups" if groups > 1 else "")
        raise SettingError("width", rule, factor, 1)
    return scaled


def start_anew(network: nn.Module, like: nn.Module) -> None:
    """Draw the weights of convolutions and batch norms in place, as the encoder ``like`` starts."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.BatchNorm2d)):
            part.reset_parameters()
    initialise(network, getattr(like, "initialisation", "default"))
