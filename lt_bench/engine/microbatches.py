"""Micro-batches: a batch in several passes, and how much each counts in the loss."""

from __future__ import annotations

from lt_bench.config.schema import Training
from lt_bench.contracts import Batch, Mix


def passes(batch: Batch, training: Training, ranks: int) -> list[tuple[Batch, float]]:
    """The passes over a rank's share of a batch, each with its weight in the mean of the batch.

    They have equally many images, but for one, and count by these. Where weights are those of a ``full`` batch, a pass
    has as many images as there are left, up to a micro-batch, and each counts as if the batch were full.
    Source of the latter: Shi et al., ICML 2024 (LIFT), authors' code.
    """
    size, share = training.microbatch, len(batch.labels)
    if size is None:
        return [(batch, 1.0)]
    if training.microbatch_weights == "full":
        parts = split(batch, [*range(0, share, max(1, size // ranks))][1:])
        return [(part, min(1.0, size / training.batch_size)) for part in parts]
    number = min(share, -(-share * ranks // size))
    return [(part, len(part.labels) / share) for part in split(batch, number)]


def split(batch: Batch, where: int | list[int]) -> list[Batch]:
    """A batch in so many equal parts, but for one image, or at some positions; see ``torch.tensor_split``."""
    views = zip(*(view.tensor_split(where) for view in batch.views), strict=True)
    labels, indices = batch.labels.tensor_split(where), batch.indices.tensor_split(where)
    found = [Batch(*parts) for parts in zip(views, labels, indices, strict=True)]
    if batch.mix is None:
        return found
    mixes = zip(*(values.tensor_split(where) for values in batch.mix), strict=True)
    return [part._replace(mix=Mix(*values)) for part, values in zip(found, mixes, strict=True)]
