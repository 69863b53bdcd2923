"""Supervised contrastive loss, and the group sums and similarities that its relatives share."""

from __future__ import annotations

import torch
from torch import Tensor


def group_sums(features: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Per image, the sum of all embeddings of its group (every view, itself included) and the images in the group.

    Shapes: features (B, V, D), groups (B,) any integers; returns (B, D) and (B,). Nothing is read by the host.
    """
    ordered = groups.sort().values
    first = torch.searchsorted(ordered, groups)  # position of the group's first member: an id below B
    counts = torch.searchsorted(ordered, groups, right=True) - first
    images = features.sum(1)
    # not sums[first], whose gradient on a CPU depends on which thread is first
    return torch.zeros_like(images).index_add(0, first, images).index_select(0, first), counts


def similarities(embeddings: Tensor, temperature: float) -> Tensor:
    """All inner products over the temperature, (n, D) -> (n, n), never in reduced precision."""
    with torch.autocast(embeddings.device.type, enabled=False):
        return (embeddings / temperature) @ embeddings.T


def exclude_self(scores: Tensor) -> Tensor:
    """Set the diagonal of scores (A, n), A <= n, to minus infinity, in place, for use under ``logsumexp`` only.

    The fill stays out of the graph: ``logsumexp`` gives these entries a zero gradient by itself.
    """
    scores.detach().fill_diagonal_(-torch.inf)
    return scores


def logsumexp_in_place(scores: Tensor) -> Tensor:
    """Log-sum-exp of every row, (n, m) -> (n,); scores are overwritten: half the peak memory of ``logsumexp``.

    The backward pass reads the exponentials that stand there instead of computing them anew.
    """
    highest = scores.detach().amax(1, keepdim=True)
    return scores.sub_(highest).exp_().sum(1).log() + highest.squeeze(1)


def supcon(features: Tensor, labels: Tensor | None, temperature: float, base_temperature: float) -> Tensor:
    """Supervised contrastive loss with every view as anchor; without labels an image's other views are its positives.

    Shapes: features (B, V, D) unit length, V >= 2, labels (B,) or None; returns a scalar, at least float32.
    Source: Khosla et al., NeurIPS 2020, eq. (2), with the factor temperature / base_temperature of the authors' code;
    without labels Chen et al., ICML 2020, eq. (1).  Deviation: none.
    Raises ValueError for fewer than two views.
    """
    images, views, _ = features.shape
    if views < 2:
        raise ValueError(f"expected features (B, V, D) with at least two views, found {tuple(features.shape)}")
    if labels is None:
        labels = torch.arange(images, device=features.device)
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    embeddings = features.transpose(0, 1)
    sums, counts = group_sums(features, labels)
    positives = (embeddings * (sums - embeddings)).sum(2) / (views * counts - 1)
    denominators = exclude_self(similarities(embeddings.flatten(0, 1), temperature)).logsumexp(1)
    return temperature / base_temperature * (denominators.mean() - positives.mean() / temperature)
