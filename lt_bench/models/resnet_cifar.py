"""Residual networks for small images: the narrow CIFAR ResNets and the wide ones with a 3 x 3 stem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.errors import SettingError
from lt_bench.models.resnet import resnet50

# What other code calls parts of these networks, with either word for the shortcut.
_LAYERS = {"stem.0.": "conv1.", "stem.1.": "bn1.", **{f"stages.{n}.": f"layer{n + 1}." for n in range(4)}}
OTHER_NAMES = (_LAYERS, {**_LAYERS, ".shortcut.": ".downsample."})
Initialisation = Literal["kaiming_fan_in", "kaiming_fan_out", "default"]
Shortcut = Literal["padding", "projection"]


class PaddingShortcut(nn.Module):
    """Shortcut without parameters: every ``stride``-th row and column, zero channels in front and behind."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (out_channels - in_channels) // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Shapes: (B, C, H, W) -> (B, C + 2 * padding, ceil(H / stride), ceil(W / stride))."""
        return F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch-norm, a shortcut around them, ReLU (He et al., CVPR 2016)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = (
                PaddingShortcut(in_channels, out_channels, stride)
                if shortcut == "padding"
                else nn.Sequential(
                    nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
                )
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Shapes: (B, in, H, W) -> (B, out, ceil(H / stride), ceil(W / stride))."""
        out = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(maps))


class CifarResNet(nn.Module):
    """3 x 3 stem without max-pool, stages of basic blocks, global average pool: images to ``feature_dim`` features.

    ``blocks`` and ``widths`` have one entry per stage; every stage but the first halves the resolution. Convolutions
    start from ``initialisation`` (Kaiming normal for ReLU, or PyTorch's default), batch-norm from weight 1, bias 0.
    """

    other_names: ClassVar[tuple[dict[str, str], ...]] = OTHER_NAMES

    def __init__(
        self, blocks: Sequence[int], widths: Sequence[int], shortcut: Shortcut, initialisation: Initialisation
    ) -> None:
        super().__init__()
        self.feature_dim, self.initialisation = widths[-1], initialisation
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        self.stages = nn.Sequential()
        channels = widths[0]
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            stage = nn.Sequential()
            for index in range(count):
                stage.append(BasicBlock(channels, width, 2 if number > 0 and index == 0 else 1, shortcut))
                channels = width
            self.stages.append(stage)
        initialise(self, initialisation)

    def maps(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, feature_dim, H', W'), before the pool."""
        maps: Tensor = self.stages(self.stem(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, feature_dim), not normalised."""
        return self.maps(images).mean(dim=(2, 3))


def initialise(network: nn.Module, initialisation: Initialisation) -> None:
    """Draw the weights of all convolutions of a network, in place; "default" leaves them as they are."""
    modes: dict[str, Literal["fan_in", "fan_out"]] = {"kaiming_fan_in": "fan_in", "kaiming_fan_out": "fan_out"}
    if initialisation not in (*modes, "default"):
        raise SettingError("initialisation", f"one of {', '.join(modes)}, default", initialisation, "default")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and initialisation in modes:
            nn.init.kaiming_normal_(module.weight, mode=modes[initialisation], nonlinearity="relu")


class Doubled(nn.Module):
    """Two modules on the same maps, their outputs one behind the other."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, maps: Tensor) -> Tensor:
        """Shapes: (B, C, H, W) -> (B, 2 * C, H, W) for modules that keep the shape."""
        return torch.cat([self.first(maps), self.second(maps)], dim=1)


def resnet_cifar(blocks_per_stage: int, width: int = 1) -> CifarResNet:
    """The narrow CIFAR ResNet of depth 6 * blocks_per_stage + 2: widths 16, 32, 64, type A shortcuts, 64 features.

    ``width`` multiplies all widths.

    Source: He et al., CVPR 2016, section 4.2; initialisation (Kaiming normal, fan-in) as in the authors' code of
    LDAM-DRW and SBCL.  Deviation: without their linear layer on top, which SBCL never uses.
    """
    widths = [width * channels for channels in (16, 32, 64)]
    return CifarResNet((blocks_per_stage,) * 3, widths, "padding", "kaiming_fan_in")


def resnet8_cifar() -> CifarResNet:
    """``resnet_cifar`` with one block per stage: 64 features."""
    return resnet_cifar(1)


def resnet32_cifar() -> CifarResNet:
    """``resnet_cifar`` with five blocks per stage: 64 features, 463,504 parameters."""
    return resnet_cifar(5)


def resnet32_cifar_w4() -> CifarResNet:
    """``resnet32_cifar`` with four times its widths: 256 features, 7,383,616 parameters.

    Source: Du et al., CVPR 2023 (GLMC), authors' code.  Deviation: none.
    """
    return resnet_cifar(5, width=4)


def resnet32_cifar_bbn() -> CifarResNet:
    """``resnet32_cifar`` whose last block is there twice, side by side: 128 features, 537,488 parameters.

    Source: Zhou et al., CVPR 2020 (BBN), as in the authors' code of LADE.  Deviation: none.
    """
    network = resnet32_cifar()
    last = network.stages[-1]
    assert isinstance(last, nn.Sequential)
    copy = BasicBlock(64, 64, 1, "padding")
    initialise(copy, "kaiming_fan_in")
    last[-1] = Doubled(last[-1], copy)
    network.feature_dim = 128
    return network


def resnet18_cifar(initialisation: Initialisation = "kaiming_fan_out") -> CifarResNet:
    """ResNet-18 with a 3 x 3 stem and no max-pool: widths 64 - 512, projection shortcuts, 11,168,832 parameters.

    Source: the self-supervised long-tail literature (SDCLR, GH); GH's SimCLR starts from "default".
    """
    return CifarResNet((2, 2, 2, 2), (64, 128, 256, 512), "projection", initialisation)


def resnet34_cifar(initialisation: Initialisation = "kaiming_fan_out") -> CifarResNet:
    """As ``resnet18_cifar`` with 3, 4, 6, 3 blocks: 21,276,992 parameters."""
    return CifarResNet((3, 4, 6, 3), (64, 128, 256, 512), "projection", initialisation)


def resnet50_cifar() -> nn.Module:
    """ResNet-50 with a 3 x 3 stem and no max-pool: stages of bottlenecks, 2,048 features, 23,500,352 parameters.

    Source: Cui et al., TPAMI 2023 (GPaCo), authors' code for the full CIFAR-100.  Deviation: none known; the
    initialisation is that of the large-image network.
    """
    network = resnet50()
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network
