"""Threads that a run chooses against fixed ones, idle and beside others: `python tests/benchmarks/bench_threads.py`.

The works are stage ones of runs: the digits run, ResNet-32 on images of CIFAR's size, and a small network on JPEG files
that two workers read. Every side is a process that stays, because how threads wait is chosen before PyTorch is
imported, and carries out the same runs in turn. For the second half busy processes are started before the sides.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from harness import Comparison, Measured, script
from PIL import Image

from lt_bench.config.compose import compose
from lt_bench.data.sources.common import ImageArrays
from lt_bench.machine import WAITING
from lt_bench.preflight.validate import validate

FIXED = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads that spin": {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "300000"},  # PyTorch's wheels: the default
    "2 threads that sleep": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
}
OURS = "chosen"
GOALS = {0: 1 / 1.2, 2: 1 / 1.5}  # busy processes, and the least ratio beside each of the fixed ones
ROWS = {
    "digits run": "30 epochs of the digits run",
    "ResNet-32": "ResNet-32, 128 images of 32 x 32",
    "JPEG workers": "a small network on JPEG files that two workers read",
}
SERVE = "from lt_bench.machine import wait_briefly; wait_briefly(); import bench_threads; bench_threads.serve()"
BUSY = "import os\nwhile os.getppid() == {parent}:\n    sum(range(100_000))"
JPEGS, CLASSES = 96, 2


def measure(tiny: bool) -> Iterator[Comparison]:
    """Seconds of stage one of every work, chosen threads beside fixed ones; they agree where all did one run."""
    for busy, goal in GOALS.items():
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for _ in range(busy):
                stack.enter_context(busy_process())
            sides = {name: stack.enter_context(side(given)) for name, given in {**FIXED, OURS: {}}.items()}
            for what, words in works(folder, tiny).items():
                found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
                for round_ in range(1 if tiny else 3):
                    for name, process in sides.items():
                        output_dir = folder / f"{name} {round_}".replace(" ", "_")
                        found[name].append(carry_out(process, [*words, f"output_dir={output_dir}"]))
                beside = f"beside {busy} busy processes" if busy else "on an idle machine"
                yield from compared(f"{what} {beside}", found, goal, f"{ROWS[what]} {beside}")


def compared(what: str, found: dict[str, list[dict[str, Any]]], goal: float, row: str) -> Iterator[Comparison]:
    """Ours beside every other side."""
    seconds = {name: [one["seconds"] for one in runs] for name, runs in found.items()}
    agree = len({one["run"] for runs in found.values() for one in runs}) == 1
    threads = "/".join(sorted({str(one["threads"]) for one in found[OURS]}))
    ours = Measured.of(f"{OURS}: {threads}", *seconds[OURS])
    for name in FIXED:
        yield Comparison(what, "s", Measured.of(name, *seconds[name]), ours, agree, goal, row=row)


def works(folder: Path, tiny: bool) -> dict[str, list[str]]:
    """The overrides of every work; writes the files of the last."""
    root = folder / "images"
    for part in () if root.exists() else ("train", "test"):
        for number in range(JPEGS):
            path = root / part / str(number % CLASSES) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = np.random.RandomState(number).randint(0, 256, (12, 16, 3)).astype(np.uint8)
            Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=92)
    common = ["stage_two=none", "method=ce", "progress=false", "device=cpu", f"train.epochs={1 if tiny else 3}"]
    short = "budget.max_steps_per_epoch=" + ("1" if tiny else "4")
    noise = ["dataset=cifar10_lt", "dataset._target_=bench_threads.noise", "trust=[bench_threads]", "imbalance=native"]
    files = ["dataset=image_folder", f"dataset.root={root}", f"dataset.num_classes={CLASSES}", "dataset.image_size=64"]
    return {
        "digits run": ["progress=false", "device=cpu", f"train.epochs={3 if tiny else 30}", *[short] * tiny],
        "ResNet-32": [*common, *noise, f"train.batch_size={16 if tiny else 128}", short],
        "JPEG workers": [*common, *files, "dataset.workers=2", "backbone=tiny", "train.batch_size=32"],
    }


def noise(root: Path) -> ImageArrays:
    """Random images of CIFAR-10's size; nothing is read."""
    drawn = np.random.RandomState(0).randint(0, 256, (640, 3, 32, 32)).astype(np.uint8)
    labels = np.arange(len(drawn)) % 10
    return ImageArrays(drawn[:600], labels[:600], drawn[600:], labels[600:], 10)


@contextmanager
def side(given: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported PyTorch under a choice of threads, and carries out runs."""
    chosen = {"OMP_NUM_THREADS", *WAITING}
    environment = {name: value for name, value in os.environ.items() if name not in chosen} | given
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env={**environment, "PYTHONPATH": str(Path(__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate()  # closes its input, on which it ends


def carry_out(process: subprocess.Popen[str], words: Sequence[str]) -> dict[str, Any]:
    """What a side's process says of a run."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(words) + "\n")
    process.stdin.flush()
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def serve() -> None:
    """In a side's process: the stage one of every run on standard input."""
    from lt_bench.run.execute import execute

    for line in sys.stdin:
        with redirect_stdout(io.StringIO()):
            record, _ = execute(validate(compose(json.loads(line))), only_stage_one=True)
        found = {"run": record.run_id, "seconds": record.cost["seconds"], "threads": record.environment["threads"]}
        print(json.dumps(found), flush=True)


@contextmanager
def busy_process() -> Iterator[None]:
    """A process that does nothing but compute while this one lives, in a session of its own as another program."""
    process = subprocess.Popen([sys.executable, "-c", BUSY.format(parent=os.getpid())], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(script(measure))
