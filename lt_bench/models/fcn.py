"""Heads for pixels: from the maps of an encoder to logits of every place."""

from __future__ import annotations

from typing import Any

from torch import Tensor, cat, nn

from lt_bench.models.regions import image_bias, predicted_regions


class ConvBlock(nn.Sequential):
    """A convolution without bias, Kaiming normal by fan-out, batch norm and ReLU; height and width stay."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        conv = nn.Conv2d(channels, width, size, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        super().__init__()
        self.conv, self.bn, self.relu = conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def pixel_classifier(channels: int, num_classes: int) -> nn.Conv2d:
    """A linear classifier of every place, which starts from weights of deviation 0.01."""
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class FCN(nn.Module):
    """Two 3 x 3 convolution blocks, one more of their output beside the maps, and a linear classifier.

    Source: Long et al., CVPR 2015, in MMSegmentation's form (FCNHead).  Deviation: dropout is the method's affair.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvBlock(in_channels, channels, 3), ConvBlock(channels, channels, 3))
        self.conv_cat = ConvBlock(in_channels + channels, channels, 3)
        self.conv_seg = pixel_classifier(channels, num_classes)

    def settings(self) -> dict[str, Any]:
        """What builds a head of these shapes."""
        channels, both = self.conv_seg.in_channels, self.conv_cat.conv.in_channels
        return {
            "_target_": f"{type(self).__module__}.{type(self).__qualname__}",
            "in_channels": both - channels,
            "channels": channels,
            "num_classes": self.conv_seg.out_channels,
        }

    def features(self, maps: Tensor) -> Tensor:
        """Maps (B, in, h, w) to the features (B, channels, h, w) that the classifier takes."""
        found: Tensor = self.conv_cat(cat([maps, self.convs(maps)], dim=1))
        return found

    def classified(self, features: Tensor) -> Tensor:
        """Features (B, channels, h, w) to the logits (B, C, h, w) that are evaluated."""
        logits: Tensor = self.conv_seg(features)
        return logits

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, in, h, w) to the logits (B, C, h, w) that are evaluated."""
        return self.classified(self.features(maps))


class TwoPassFCN(FCN):
    """The same with a branch from region features to classes; what it says of predicted regions is added to pixels.

    Source: Cui et al., arXiv 2204.01969, authors' code (rr.py).  Deviation: none but for dropout, as above.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__(in_channels, channels, num_classes)
        self.branch = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, num_classes + 1))

    def classified(self, features: Tensor) -> Tensor:
        """Features (B, channels, h, w) to logits (B, C, h, w), those of pixels and the bias of their image."""
        logits = self.conv_seg(features)
        bias = image_bias(self.branch(predicted_regions(features, logits)))
        return logits + bias[:, :, None, None].to(logits.dtype)


class Auxiliary(nn.Sequential):
    """A head that is trained on an earlier stage and not evaluated: a 3 x 3 block and a linear classifier."""

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.block = ConvBlock(in_channels, channels, 3)
        self.conv_seg = pixel_classifier(channels, num_classes)


class RegionBranch(nn.Module):
    """The branch of the form without a second pass: maps reduced to 128 channels, then region means to classes.

    Source: the authors' code (uper_head_ceco.py).  Deviation: none but for dropout, which is the method's affair.
    """

    def __init__(self, channels: int, num_classes: int, reduced: int = 128, hidden: int = 512) -> None:
        super().__init__()
        self.reduction = nn.Sequential(nn.Conv2d(channels, reduced, 1, bias=False), nn.BatchNorm2d(reduced))
        self.hidden = nn.Sequential(nn.Linear(reduced, hidden), nn.ReLU())
        self.classifier = nn.Linear(hidden, num_classes)
