"""Partner batches: a second order of an epoch, whose batches are made beside those of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lt_bench.contracts import Batch, View
from lt_bench.data.batches.source import ImageSource, RankShare

Generators = Callable[[int], torch.Generator]


def with_partners(
    source: ImageSource,
    orders: tuple[Tensor, Tensor],
    shares: Sequence[RankShare],
    views: Sequence[View],
    generators: tuple[Generators, Generators],
    is_needed: Callable[[int], bool],
    first: int,
) -> Iterator[Batch]:
    """The batch of every share from ``first`` on, with its partner in the steps that need one.

    ``orders`` and ``generators`` are those of the batches and of their partners. Both are made as one sequence, so that
    a source that works ahead does so for both.
    """
    order, partners = orders
    own, theirs = generators
    needed = [is_needed(share.step) for share in shares]
    after, begins, sequence = len(shares), 0, list[RankShare]()
    for number, share in enumerate(shares):
        if number == first:
            begins = len(sequence)
        sequence.append(share)
        if needed[number]:
            place = slice(len(order) + share.batch.start, len(order) + share.batch.stop)
            sequence.append(RankShare(after + share.step, place, share.rows))

    def generator(step: int) -> torch.Generator:
        return own(step) if step < after else theirs(step - after)

    batches = source.batches(torch.cat([order, partners]), sequence, views, generator, None, begins)
    for number in range(first, len(shares)):
        batch = next(batches)
        yield batch._replace(partner=next(batches)) if needed[number] else batch
