"""Whole training steps as one CUDA graph: recorded once, then replayed by a single launch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lt_bench.config.schema import Training
from lt_bench.contracts import Batch, Method, Mix
from lt_bench.engine.precision import Precision
from lt_bench.errors import UsageError

OPTIMIZERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # their fused steps read nothing on the host
EAGER_STEPS = 3  # before a recording: libraries, momentum and their memory are set up by the first ones

Work = Callable[[Batch, int, int], dict[str, Tensor]]


class RecordedStep:
    """The work of a step, from cleared gradients to the new weights, on tensors that stay where they are.

    ``work`` (batch, epoch, step) -> terms is recorded for batches of ``size`` images when ``EAGER_STEPS`` of them were
    done without, and anew for another phase of the method; other batches, and those without a phase, are done as they
    are. On another device than CUDA the work is done on the same tensors, but not recorded.
    Source: PyTorch's notes on CUDA graphs, whole-network capture.  Deviation: the steps before a recording are steps of
    the training, not repetitions of one.
    """

    def __init__(self, work: Work, size: int, device: torch.device) -> None:
        self.work, self.size, self.device = work, size, device
        # what libraries keep by stream, such as cuDNN's handle, is that of the recording from the first step on
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.eager_steps = EAGER_STEPS
        self.phase: Hashable = None
        self.inputs: Batch | None = None
        self.terms: dict[str, Tensor] = {}
        self.replay: Callable[[], Any] | None = None

    def __call__(self, batch: Batch, phase: Hashable, epoch: int, step: int) -> dict[str, Tensor]:
        """The terms of a step."""
        if phase is None or len(batch.labels) != self.size:
            return self.work(batch, epoch, step)
        if self.eager_steps:
            self.eager_steps -= 1
            return self._aside(batch, epoch, step)
        if self.phase != phase or self.inputs is None:
            self._record(batch, epoch, step)
            self.phase = phase
        assert self.inputs is not None and self.replay is not None
        for kept, given in zip(_tensors(self.inputs), _tensors(batch), strict=True):
            kept.copy_(given)
        self.replay()
        return {name: value.clone() for name, value in self.terms.items()}

    def _aside(self, batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        """The work, not recorded, on the stream of the recording; the present stream goes on when it is done."""
        if self.stream is None:
            return self.work(batch, epoch, step)
        present = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(present)
        with torch.cuda.stream(self.stream):
            terms = self.work(batch, epoch, step)
        present.wait_stream(self.stream)
        return terms

    def _record(self, batch: Batch, epoch: int, step: int) -> None:
        """Record the work on copies of a batch, without doing it."""
        self.replay = None  # the memory of a former recording is free for this one
        inputs = Batch(tuple(view.clone() for view in batch.views), batch.labels.clone(), batch.indices.clone())
        if batch.mix is not None:
            inputs = inputs._replace(mix=Mix(batch.mix.labels.clone(), batch.mix.kept.clone()))

        def work() -> None:
            self.terms = self.work(inputs, epoch, step)

        self.inputs, self.replay = inputs, work
        if self.stream is not None:
            graph = torch.cuda.CUDAGraph()
            # other threads may pin memory meanwhile
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                work()
            self.replay = graph.replay


def _tensors(batch: Batch) -> list[Tensor]:
    return [*batch.views, batch.labels, batch.indices, *(batch.mix or ())]


def require_recordable(
    method: Method, training: Training, optimizer: torch.optim.Optimizer, precision: Precision, ranks: int
) -> None:
    """Raise UsageError where no step of this training can be recorded, with the reason."""
    static = any(method.phase(epoch) is not None for epoch in range(training.epochs))
    reasons = {
        f"there are {ranks} processes, whose exchanges are not recorded": ranks > 1,
        f"every step of {type(method).__name__} draws or reads something anew": not static,
        f"{type(optimizer).__name__} may read on the host, unlike SGD, Adam and AdamW": (
            type(optimizer) not in OPTIMIZERS
        ),
        "the scale of fp16 is read in every step; bf16 and float32 have none": precision.name == "fp16",
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(f"whole steps cannot be recorded, as {reason}; set cuda_graph=false")


def make_recordable(optimizer: torch.optim.Optimizer, wanted: bool) -> None:
    """Let the steps of an optimiser be recorded, also of one that was loaded from a checkpoint, or not."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = wanted
    # no warning of the steps before a recording
    optimizer._warned_capturable_if_run_uncaptured = True


class Rates:
    """The rates of an optimiser's groups, which change from step to step, on a device.

    Where steps are ``recorded`` they are read from tensors (). Fused steps on CUDA read such as float32: there a rate
    is rounded to that in any case, so that a recording changes nothing.
    """

    def __init__(self, groups: int, device: torch.device, recorded: bool) -> None:
        cuda = device.type == "cuda"
        self.rounded: type[np.floating[Any]] = np.float32 if cuda else np.float64
        kind = torch.float32 if cuda else torch.float64
        self.tensors = [torch.zeros((), dtype=kind, device=device) for _ in range(groups)] if recorded else None

    def set(self, optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
        """Set the rate of every group for the next step."""
        for number, (group, rate) in enumerate(zip(optimizer.param_groups, rates, strict=True)):
            if self.tensors is None:
                group["lr"] = float(self.rounded(rate))
            else:
                group["lr"] = self.tensors[number].fill_(rate)
