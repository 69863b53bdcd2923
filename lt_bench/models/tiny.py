"""A small convolutional encoder for small images on a CPU."""

from __future__ import annotations

from torch import Tensor, nn


class TinyEncoder(nn.Module):
    """Three 3 x 3 convolutions with batch-norm and ReLU (16, 32, 64 channels), global average pool: 64 features.

    The second and the third halve the resolution; images from 4 x 4 on; 23,696 parameters.
    """

    feature_dim = 64

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, width, stride in ((3, 16, 1), (16, 32, 2), (32, self.feature_dim, 2)):
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)

    def maps(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, 64, H', W'), before the pool."""
        maps: Tensor = self.layers(images)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, 64)."""
        return self.maps(images).mean(dim=(2, 3))
