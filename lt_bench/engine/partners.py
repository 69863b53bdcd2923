"""Partner batches: a second order of an epoch, in which images of rare classes may come up more often."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lt_bench.contracts import Batch, View
from lt_bench.data.batches.source import ImageSource, RankShare
from lt_bench.engine.context import EngineContext

Generators = Callable[[int], torch.Generator]


def image_weights(labels: Tensor, exponent: float) -> Tensor:
    """What the probability of every image is proportional to: (images of its class)^-exponent.

    Shapes: labels (N,); returns (N,) float64. 0: every image alike; 1: every class alike.
    Source: Park et al., CVPR 2022 (CMO); Du et al., CVPR 2023 (GLMC).  Deviation: none.
    """
    counts = torch.bincount(labels).double()
    return counts.clamp(min=1).pow(-exponent)[labels]


def drawn_positions(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` positions drawn with replacement, by weights (N,); (count,) int64, nothing is read on the host."""
    ends = weights.cumsum(0)
    places = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, places, right=True).clamp(max=len(weights) - 1)


class WeightedOrder:
    """Positions drawn with replacement by ``image_weights``, a function of (seed, stream, epoch) alone."""

    def __init__(self, labels: Tensor, exponent: float, context: EngineContext, stream: str) -> None:
        self.weights, self.context, self.stream = image_weights(labels, exponent), context, stream

    def __call__(self, epoch: int, count: int) -> Tensor:
        """The ``count`` positions of an epoch, (count,)."""
        return drawn_positions(self.weights, count, self.context.generator(self.stream, epoch))


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
