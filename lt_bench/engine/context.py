"""The context in which the engine trains a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lt_bench.contracts import View
from lt_bench.data.batches.source import ImageSource
from lt_bench.engine import distributed
from lt_bench.engine.distributed import Processes
from lt_bench.engine.progress import told
from lt_bench.engine.random import derived_generator
from lt_bench.errors import NonFiniteLoss


class EngineContext:
    """The engine's side of the ``TrainContext`` contract: random streams, collectives, embeddings of the images."""

    def __init__(
        self, processes: Processes, seed: int, source: ImageSource, batch_size: int = 500, shown: bool = False
    ) -> None:
        self.rank, self.world_size, self.device = processes
        self.seed = seed
        self.source = source
        self.batch_size = batch_size
        self.shown = shown and self.rank == 0  # whether long passes over the images have a bar
        self.module: nn.Module | None = None
        self.epoch = 0

    def generator(self, stream: str, *key: int) -> torch.Generator:
        """A generator on the device that is a function of (seed, stream, key) alone."""
        return derived_generator(self.device, self.seed, stream, *key)

    def gather(self, rows: Tensor) -> Tensor:
        """All ranks' rows in rank order, differentiable; identity on one rank."""
        return distributed.all_gather(rows) if self.world_size > 1 else rows

    def from_rank0(self, compute: Callable[[], Tensor]) -> Tensor:
        """The result of ``compute``, computed on rank 0 only and broadcast."""
        if self.world_size == 1:
            return compute()
        return distributed.broadcast(compute() if self.rank == 0 else None, self.device)

    def embed(self, function: Callable[[Tensor], Tensor], view: View = "plain") -> Tensor:
        """``function`` (images -> (B, D)) over the train split, (N, D) in index order, on every rank.

        In eval mode, without gradients, sharded over ranks; each module's mode is restored afterwards. An augmented
        view is drawn for all images at once, whatever the chunks and ranks.  Raises NonFiniteLoss.
        """
        indices = torch.arange(len(self.source.labels), device=self.device)
        share = -(-len(indices) // self.world_size)  # ranks have equal shares, so the last ones may overlap
        last = len(indices) - share
        start = min(self.rank * share, last)
        with evaluating(self.module), torch.no_grad():
            mine, generator = slice(start, start + share), self.generator("embed", self.epoch)
            chunks = self.source.chunks(view, indices, mine, self.batch_size, generator)
            chunks = told(chunks, "features of the training images", self.shown)
            rows = self.gather(torch.cat([function(images) for images in chunks]))
        first = indices // share * share
        embeddings = rows[indices + first - first.clamp(max=last)]
        if not bool(torch.isfinite(embeddings).all()):
            raise NonFiniteLoss(f"embeddings of epoch {self.epoch} are not finite; {NonFiniteLoss.advice}")
        return embeddings


class evaluating:
    """Context: a module in eval mode; afterwards every submodule is back in the mode it had."""

    def __init__(self, module: nn.Module | None) -> None:
        self.module = module

    def __enter__(self) -> None:
        self._modes = [(part, part.training) for part in self._parts()]
        for part, _ in self._modes:
            part.training = False

    def __exit__(self, *_: object) -> None:
        for part, mode in self._modes:
            part.training = mode

    def _parts(self) -> Iterator[nn.Module]:
        return self.module.modules() if self.module is not None else iter(())
