"""An encoder and a classifier as one network."""

from __future__ import annotations

from torch import Tensor, nn


class Whole(nn.Module):
    """Encoder and classifier as one network: images (B, 3, S, S), normalised, to logits (B, C)."""

    def __init__(self, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, S, S) -> (B, C)."""
        logits: Tensor = self.classifier(self.encoder(images))
        return logits
