"""Logits of an encoder and a classifier on held-out images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lt_bench.contracts import Method
from lt_bench.data.batches.source import ImageSource
from lt_bench.engine import distributed
from lt_bench.engine.context import evaluating
from lt_bench.engine.progress import told
from lt_bench.evaluation.predictions import LOGITS


@torch.no_grad()
def embed_plain(encoder: nn.Module, images: ImageSource, batch_size: int, shown: bool = False) -> Tensor:
    """Features (M, V, D) of the V plain crops of images, in order, in eval mode; every rank computes its share.

    ``shown``: whether there is a bar where that takes long.
    """
    indices = torch.arange(len(images.labels), device=images.labels.device)
    padded, mine = distributed.shard(indices)
    generator = torch.Generator(indices.device)  # the plain view draws nothing
    with evaluating(encoder):
        chunks = told(images.chunks("plain", padded, mine, batch_size, generator), "features to evaluate", shown)
        rows = torch.cat([encoder(chunk) for chunk in chunks]).unflatten(0, (len(padded[mine]), -1))
        return distributed.all_gather(rows)[: len(indices)]


@torch.no_grad()
def classify(classifier: nn.Module, features: Tensor, batch_size: int) -> Tensor:
    """Logits (M, C) of features (M, V, D), in eval mode: the mean over the V crops of an image.

    As many images at a time as have ``batch_size`` crops: as a predictor computes new ones.
    """
    crops = features.shape[1]
    with evaluating(classifier):
        parts = features.split(max(1, batch_size // crops))
        return torch.cat([classifier(part.flatten(0, 1)).unflatten(0, (-1, crops)).mean(1) for part in parts])


@torch.no_grad()
def named_logits(classifier: nn.Module, features: Tensor, batch_size: int) -> dict[str, Tensor]:
    """Logits (M, C) by name: those of ``classify``, and of single experts where a classifier has ``named_logits``."""
    found = {LOGITS: classify(classifier, features, batch_size)}
    if (named := getattr(classifier, "named_logits", None)) is None:
        return found
    crops = features.shape[1]
    with evaluating(classifier):
        parts = [named(rows.flatten(0, 1)) for rows in features.split(max(1, batch_size // crops))]
    return found | {
        name: torch.cat([part[name].unflatten(0, (-1, crops)).mean(1) for part in parts]) for name in parts[0]
    }


class Scorer:
    """Mean per-class accuracy of a method's classifier on held-out images, to choose the best epoch by."""

    def __init__(self, method: Method, images: ImageSource, num_classes: int, batch_size: int) -> None:
        self.method, self.images, self.batch_size = method, images, batch_size
        self.totals = torch.bincount(images.labels, minlength=num_classes)
        frozen = not any(parameter.requires_grad for parameter in method.encoder.parameters())
        self.features = embed_plain(method.encoder, images, batch_size) if frozen else None

    def __call__(self) -> float:
        """The accuracy in [0, 1], over the classes that have held-out images."""
        assert self.method.classifier is not None
        features = self.features
        if features is None:
            features = embed_plain(self.method.encoder, self.images, self.batch_size)
        predicted = classify(self.method.classifier, features, self.batch_size).argmax(1)
        right = torch.bincount(self.images.labels[predicted == self.images.labels], minlength=len(self.totals))
        present = self.totals > 0
        return float((right[present] / self.totals[present]).mean())
