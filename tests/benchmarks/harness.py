"""Side-by-side timing: candidates run alternately in one process; medians are printed with their spread."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch
from weakref import WeakSet

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def describe() -> str:
    """One line on the machine, the versions and the threads in use."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    )


def alternate(candidates: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds per call of every candidate, run in turn for ``rounds`` rounds after one warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(rounds + 1):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if round_ > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(title: str, seconds: dict[str, list[float]], baseline: str, ours: str, goal: float | None = None) -> float:
    """Print medians and spread, and the ratio baseline / ours against the goal; return the ratio."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians[baseline] / medians[ours]
    print(f"\n{title}")
    for name, values in seconds.items():
        print(f"  {name:<40} {medians[name] * 1e3:10.2f} ms  ({min(values) * 1e3:.2f} - {max(values) * 1e3:.2f})")
    wanted = "" if goal is None else f"   goal {goal:g}: {'met' if ratio >= goal else 'MISSED'}"
    print(f"  {'ratio':<40} {ratio:10.2f} x{wanted}")
    return ratio


def compare_losses(
    title: str,
    losses: dict[str, Callable[[], torch.Tensor]],
    inputs: Sequence[torch.Tensor],
    goals: tuple[float, float],
    rounds: int = 9,
    rtol: float = 1e-4,
) -> bool:
    """Time, peak memory and kernels of losses with their gradients; whether time and memory meet their goals.

    The first loss is the baseline, the second ours; their gradients must agree.
    """
    baseline, ours, *_ = losses
    steps = {name: lambda loss=loss: torch.autograd.grad(loss(), inputs) for name, loss in losses.items()}
    for found, expected in zip(steps[ours](), steps[baseline](), strict=True):
        torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-6)
    time_ratio = report(f"{title}, forward and backward", alternate(steps, rounds), baseline, ours, goals[0])
    print("\npeak memory and kernels of one forward and backward")
    peaks = {}
    for name, step in steps.items():
        with PeakMemory() as memory:
            step()
        with OpCount() as kernels:
            step()
        peaks[name] = memory.peak
        print(f"  {name:<40} {memory.peak / 2**20:10.1f} MiB {kernels.count:6d} kernels")
    memory_ratio = peaks[baseline] / peaks[ours]
    met = memory_ratio >= goals[1]
    print(f"  {'ratio':<40} {memory_ratio:10.2f} x   goal {goals[1]:g}: {'met' if met else 'MISSED'}")
    return met and time_ratio >= goals[0]


class PeakMemory(TorchDispatchMode):
    """Peak bytes of live tensor storages that were allocated inside the block, forward and backward.

    Storages of tensors made before the block are left out; a buffer that lives only inside one kernel is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: WeakSet[torch.UntypedStorage] = WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = _storages((args, kwargs))
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):  # a view of, or a write into, an argument allocates nothing
            if storage not in given:
                self._alive.add(storage)
        self.peak = max(self.peak, sum(storage.nbytes() for storage in self._alive))
        return result


class OpCount(TorchDispatchMode):
    """Kernels dispatched inside the block, forward and backward; views are free and not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


class HostReads(TorchDispatchMode):
    """What makes the host wait for a value on a device: kernels for scalars and data-dependent shapes, and conversions.

    The conversions are seen on the CPU too, where they dispatch no kernel: inside the block ``torch.Tensor``'s methods
    are watched.  A read through another read counts once.  Not seen: ``.to("cpu")`` and ``torch.tensor([a, b])``.
    """

    kernels = (
        *("_local_scalar_dense", "nonzero", "masked_select", "bincount", "unique"),
        *("equal", "allclose", "repeat_interleave"),
    )
    methods = ("tolist", "numpy", "__array__", "cpu", "__iter__")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._watched = ExitStack()

    def __enter__(self) -> HostReads:
        for name in self.methods:
            self._watched.enter_context(patch.object(torch.Tensor, name, self._watch(name)))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watched.close()
        super().__exit__(*error)

    def _watch(self, name: str) -> Callable[..., Any]:
        """The method of that name, which notes its calls."""
        method = getattr(torch.Tensor, name)

        def watched(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.found.append(name)
            count = len(self.found)
            try:
                return method(tensor, *args, **kwargs)
            finally:
                del self.found[count:]  # the same read, once more

        return watched

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        listed = name.strip("_").startswith(tuple(word.strip("_") for word in self.kernels))
        if by_mask or (listed and kwargs.get("output_size") is None):  # a known size needs no reading
            self.found.append(name)
        return func(*args, **kwargs)


def _storages(tree: object) -> set[torch.UntypedStorage]:
    """The storages of all tensors in a tree."""
    return {leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)}
