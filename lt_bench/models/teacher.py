"""A trained network that another one is trained to agree with."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """An encoder and its classifier that are not trained: images (B, 3, H, W) -> logits (B, C), in evaluation mode."""

    def __init__(self, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Teacher:
        """Evaluation mode always."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits without gradient."""
        logits: Tensor = self.classifier(self.encoder(images))
        return logits
