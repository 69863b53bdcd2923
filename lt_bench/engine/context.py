"""What the engine lends to a method while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lt_bench.data.small import TrainSource
from lt_bench.engine import distributed
from lt_bench.engine.distributed import Processes
from lt_bench.engine.metrics import NonFiniteLoss
from lt_bench.engine.random import derived_generator


class EngineRun:
    """The engine's side of the ``Run`` contract: random streams, collectives, and embeddings of the train split."""

    def __init__(self, processes: Processes, seed: int, source: TrainSource, batch_size: int = 500) -> None:
        self.rank, self.world_size, self.device = processes
        self.seed = seed
        self.source = source
        self.batch_size = batch_size
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

    def embed(self, function: Callable[[Tensor], Tensor], view: str = "plain") -> Tensor:
        """``function`` (images -> (B, D)) over the train split, (N, D) in index order, on every rank.

        In eval mode, without gradients, sharded over ranks; each module's mode is restored afterwards. An augmented
        view is drawn for all images at once, whatever the chunks and ranks.  Raises NonFiniteLoss.
        """
        indices = torch.arange(len(self.source.labels), device=self.device)
        padded, mine = distributed.shard(indices)
        with evaluating(self.module), torch.no_grad():
            chunks = self.source.chunks(view, padded, mine, self.batch_size, self.generator("embed", self.epoch))
            embeddings = self.gather(torch.cat([function(images) for images in chunks]))[: len(indices)]
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
