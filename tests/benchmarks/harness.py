"""Side-by-side measurements: sides run alternately in one process, medians are printed with their spread.

A script of this folder is one function ``measure(tiny)`` that yields comparisons, and ``script(measure)``.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lt_bench.engine.allocator import keep_freed_memory
from lt_bench.files import write_json

# symbols with factors on a value; the first whose factor makes it at least one is taken
UNITS = {
    "s": (("s", 1.0), ("ms", 1e3), ("µs", 1e6)),
    "CPU s": (("CPU s", 1.0), ("CPU ms", 1e3), ("CPU µs", 1e6)),
    "B": (("GiB", 2.0**-30), ("MiB", 2.0**-20), ("KiB", 2.0**-10)),
    "operations": (("operations", 1.0),),
}


def shown(value: float, unit: str) -> str:
    """A value with three digits and the unit that a person would choose."""
    symbol, factor = next((form for form in UNITS[unit] if value * form[1] >= 1), UNITS[unit][-1])
    number = f"{value * factor:,.0f}" if value * factor >= 100 else f"{value * factor:.3g}"
    return f"{number} {symbol}" if number != "1" or unit != "operations" else "1 operation"


@dataclass(frozen=True)
class Measured:
    """One side of a comparison: the median, the least and the greatest of its values."""

    name: str
    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, name: str, *values: float) -> Measured:
        """From the values of all rounds."""
        return cls(name, statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Comparison:
    """What was measured on our side and, but where a limit alone is asked for, on a baseline's.

    ``unit`` is a key of ``UNITS``. The two sides ``agree`` where their results are the same or, of random ones, have
    the same distribution; ``note`` says where a baseline does other work. ``goal`` is the least ratio baseline / ours,
    ``limit`` the greatest median of ours. Comparisons with equal ``row`` share a line of the table in docs/speed.md,
    and those without one are not in it.
    """

    what: str
    unit: str
    baseline: Measured | None
    ours: Measured
    agree: bool
    goal: float | None = None
    limit: float | None = None
    row: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times ours goes into the baseline."""
        return self.baseline.median / self.ours.median if self.baseline else None

    @property
    def met(self) -> bool:
        """Whether goal and limit are met, where there are any."""
        fast = self.goal is None or (self.ratio is not None and self.ratio >= self.goal)
        return fast and (self.limit is None or self.ours.median <= self.limit)

    def text(self, judged: bool) -> str:
        """What a person reads, with the goals where they are ``judged``."""
        lines = [f"\n{self.what}" + (f" ({self.note})" if self.note else "")]
        for side in filter(None, (self.baseline, self.ours)):
            spread = f"  ({shown(side.least, self.unit)} - {shown(side.greatest, self.unit)})"
            median = f"  {side.name:<40} {shown(side.median, self.unit):>16}"
            lines.append(median + (spread if side.least < side.greatest else ""))
        asked = [f"at least {self.goal:.3g} x"] if self.goal else []
        asked += [f"at most {shown(self.limit, self.unit)}"] if self.limit is not None else []
        wanted = f"   goal {', '.join(asked)}: {'met' if self.met else 'MISSED'}" if asked and judged else ""
        if self.ratio is not None:
            lines.append(f"  {'ratio':<40} {self.ratio:>14.2f} x{wanted}")
        elif wanted:
            lines.append(f"  {wanted.strip()}")
        return "\n".join([*lines, *(() if self.agree else ("  the results DIFFER",))])


@dataclass(frozen=True)
class NotMeasured:
    """A comparison that this machine cannot make, with the reason."""

    what: str
    baseline: str
    reason: str
    row: str = ""

    def text(self, judged: bool) -> str:
        """What a person reads."""
        return f"\n{self.what}\n  {self.baseline:<40} not measured: {self.reason}"


class Side(NamedTuple):
    """Something to measure: what it does, and as a baseline the ratios asked for, and where it differs from ours.

    ``agree`` is asked instead of the comparison's own where a baseline has another law.
    """

    name: str
    call: Callable[[], Any]
    goal: float | None = None
    memory_goal: float | None = None
    note: str = ""
    agree: Callable[[Any, Any], bool] | None = None


class Timed(NamedTuple):
    """Seconds of every round, and the result of the call before the first."""

    seconds: list[float]
    result: Any


def missing(*modules: str) -> str:
    """Why a baseline that needs these modules cannot be measured; empty where they are all here."""
    absent = [name for name in modules if find_spec(name) is None]
    return f"{', '.join(absent)} missing; pip install -e '.[benchmarks]'" if absent else ""


def describe() -> str:
    """One line on the machine, its GPU if it has one, the versions and the threads in use."""
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    host = f"{platform.machine()}, {os.cpu_count()} cores"
    return f"{gpu}{host}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"


def alternate(
    candidates: Mapping[str, Callable[[], Any]], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timed]:
    """Time every candidate, run in turn for ``rounds`` rounds after one warm-up round."""
    timed: dict[str, Timed] = {name: Timed([], call()) for name, call in candidates.items()}
    for _ in range(rounds):
        for name, call in candidates.items():
            start = clock()
            call()
            timed[name].seconds.append(clock() - start)
    return timed


def close(rtol: float = 1e-4, atol: float = 1e-6) -> Callable[[Any, Any], bool]:
    """A function that says whether two trees of tensors are the same up to rounding."""

    def agree(found: Any, expected: Any) -> bool:
        pairs = zip(tree_leaves(found), tree_leaves(expected), strict=True)
        return all(torch.allclose(left, right, rtol=rtol, atol=atol) for left, right in pairs)

    return agree


def alike(found: Tensor, expected: Tensor) -> bool:
    """Whether two random batches (N, ...) have one distribution, by the mean and the spread of an image.

    Of both, the difference of the means over the batch is at most five of its standard errors.
    """
    if found.shape != expected.shape:
        return False
    for of_image in (lambda batch: batch.mean(1), lambda batch: batch.std(1)):
        left, right = (of_image(batch.flatten(1).double()) for batch in (found, expected))
        error = ((left.var() + right.var()) / len(left)).sqrt()
        if (left.mean() - right.mean()).abs() > 5 * error + 1e-3:
            return False
    return True


def compare(
    what: str,
    baselines: Sequence[Side],
    ours: Side,
    agree: Callable[[Any, Any], bool],
    rounds: int = 7,
    row: str = "",
    waits: bool = False,
) -> Iterator[Comparison]:
    """Time our side and all baselines in turn, and compare it with each; ``agree(our result, theirs)`` judges both.

    CPU time is taken, which other work on the machine changes little, but of sides that wait for a device or a disk
    (``waits``) the time that passes.
    """
    clock, unit = (time.perf_counter, "s") if waits else (time.process_time, "CPU s")
    timed = alternate({side.name: side.call for side in (*baselines, ours)}, rounds, clock)
    mine, result = Measured.of(ours.name, *timed[ours.name].seconds), timed[ours.name].result
    for side in baselines:
        same = (side.agree or agree)(result, timed[side.name].result)
        theirs = Measured.of(side.name, *timed[side.name].seconds)
        yield Comparison(what, unit, theirs, mine, same, side.goal, row=row, note=side.note)


def compare_losses(
    what: str,
    baselines: Sequence[Side],
    ours: Side,
    inputs: Sequence[Tensor],
    rounds: int = 9,
    rtol: float = 1e-4,
    row: str = "",
) -> Iterator[Comparison]:
    """Time, peak memory and operations of losses, which the sides compute, with their gradients, which must agree."""
    steps = [
        side._replace(call=lambda loss=side.call: torch.autograd.grad(loss(), inputs)) for side in (*baselines, ours)
    ]
    timed = [*compare(f"{what}, forward and backward", steps[:-1], steps[-1], close(rtol), rounds, row)]
    yield from timed
    *theirs, (my_peak, my_kernels) = [_costs(step) for step in steps]
    for side, (peak, kernels), seconds in zip(baselines, theirs, timed, strict=True):
        rest = {"row": row, "note": side.note}
        yield Comparison(f"{what}, peak memory", "B", peak, my_peak, seconds.agree, side.memory_goal, **rest)
        yield Comparison(f"{what}, operations", "operations", kernels, my_kernels, seconds.agree, note=side.note)


def _costs(side: Side) -> tuple[Measured, Measured]:
    """Peak bytes and operations of one call."""
    with PeakMemory() as memory:
        side.call()
    with OpCount() as kernels:
        side.call()
    return Measured.of(side.name, memory.peak), Measured.of(side.name, kernels.count)


Measure = Callable[[bool], Iterable[Comparison | NotMeasured]]


def script(measure: Measure, threads: int = 1) -> int:
    """The command line of a benchmark; 1 when sides disagree or, at full size, a goal is missed.

    ``measure(tiny)`` makes the comparisons. Freed memory is kept, as a run on a CPU does it, for both sides.
    ``--write FILE`` stores them with what they were measured on, also those that were made before an error.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true", help="a size that takes seconds, at which no goal is judged")
    parser.add_argument("--write", type=Path, metavar="FILE", help="store the comparisons as JSON")
    arguments = parser.parse_args()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # processes and folders of a script end with it
    torch.set_num_threads(threads)
    kept = keep_freed_memory()
    print(f"{describe()}, freed memory {'kept' if kept else 'returned'}")
    found: list[Comparison | NotMeasured] = []
    error = "it was stopped"
    try:
        for one in measure(arguments.tiny):
            print(one.text(judged=not arguments.tiny), flush=True)
            found.append(one)
        error = ""
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if arguments.write:
            write_json(arguments.write, {"machine": describe(), "error": error, "rows": [asdict(one) for one in found]})
    made = [one for one in found if isinstance(one, Comparison)]
    return int(not all(one.agree and (one.met or arguments.tiny) for one in made))


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
