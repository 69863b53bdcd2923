"""Residual networks for large images: torchvision's, without their linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lt_bench.errors import SettingError
from lt_bench.models.torchvision_build import require_torchvision

STRIDES = {32: (False, False, False), 16: (False, False, True), 8: (False, True, True)}  # and what is dilated for it


def bottleneck_resnet(
    blocks: Sequence[int], groups: int = 1, width_per_group: int = 64, output_stride: int = 32
) -> nn.Module:
    """7 x 7 stem with max-pool, four stages of bottlenecks, global average pool: (B, 3, H, W) -> (B, 2048).

    ``blocks`` has one entry per stage; the stride sits in the 3 x 3 convolution. Convolutions start Kaiming normal,
    fan-out, batch-norm from weight 1, bias 0. Images of any size; 224 pixels are usual. With an ``output_stride`` of 16
    or 8 the last maps are larger: the last stages dilate instead of striding, with the same parameters.
    Raises SettingError for another.
    Source: He et al., CVPR 2016; Xie et al., CVPR 2017; torchvision's ResNet.  Deviation: without the linear layer on
    top, so that torchvision's weights load but for ``fc``.
    """
    require_torchvision()
    from torchvision.models.resnet import Bottleneck  # slow to import, and only these networks need it

    if output_stride not in STRIDES:
        raise SettingError("output_stride", "32, 16 or 8", output_stride, 8)
    widths = {"groups": groups, "width_per_group": width_per_group}
    return _without_classifier(Bottleneck, blocks, replace_stride_with_dilation=STRIDES[output_stride], **widths)


def basic_resnet(blocks: Sequence[int]) -> nn.Module:
    """As ``bottleneck_resnet``, of basic blocks: two 3 x 3 convolutions each, (B, 3, H, W) -> (B, 512)."""
    require_torchvision()
    from torchvision.models.resnet import BasicBlock

    return _without_classifier(BasicBlock, blocks)


def _without_classifier(block: Any, blocks: Sequence[int], **widths: Any) -> nn.Module:
    from torchvision.models.resnet import ResNet

    network = ResNet(block, list(blocks), num_classes=1, **widths)
    network.feature_dim = network.fc.in_features
    network.initialisation = "kaiming_fan_out"
    network.fc = nn.Identity()
    return network


def resnet10() -> nn.Module:
    """ResNet-10 of classifier re-training (Kang et al., ICLR 2020): 512 features, 4,905,792 parameters."""
    return basic_resnet((1, 1, 1, 1))


def resnet18() -> nn.Module:
    """ResNet-18: 512 features, 11,176,512 parameters."""
    return basic_resnet((2, 2, 2, 2))


def resnet50(output_stride: int = 32) -> nn.Module:
    """ResNet-50: 2,048 features, 23,508,032 parameters."""
    return bottleneck_resnet((3, 4, 6, 3), output_stride=output_stride)


def resnet101(output_stride: int = 32) -> nn.Module:
    """ResNet-101: 2,048 features, 42,500,160 parameters."""
    return bottleneck_resnet((3, 4, 23, 3), output_stride=output_stride)


def resnet152() -> nn.Module:
    """ResNet-152: 2,048 features, 58,143,808 parameters."""
    return bottleneck_resnet((3, 8, 36, 3))


def resnet200() -> nn.Module:
    """ResNet-200: 2,048 features, 62,624,832 parameters; torchvision has no such network of its own."""
    return bottleneck_resnet((3, 24, 36, 3))


def resnext50_32x4d() -> nn.Module:
    """ResNeXt-50 with 32 groups of width 4: 2,048 features, 22,979,904 parameters."""
    return bottleneck_resnet((3, 4, 6, 3), groups=32, width_per_group=4)


def resnext101_32x4d() -> nn.Module:
    """ResNeXt-101 with 32 groups of width 4: 2,048 features, 42,128,704 parameters."""
    return bottleneck_resnet((3, 4, 23, 3), groups=32, width_per_group=4)
