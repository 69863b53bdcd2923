"""What it costs to know a data set of small files by its content: `python tests/benchmarks/bench_content.py [--tiny]`.

A run looks at its images when it starts, once it has read their lists, and decodes those once that it may draw. That is
measured against a whole smoke run on them in a process of its own, for which both were done before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from harness import Comparison, Measured, script
from PIL import Image

from lt_bench.config.compose import compose
from lt_bench.data.content import contents_of_files, look, looked_at_once
from lt_bench.data.files.digests import SETTLED_NS, cache_folder
from lt_bench.data.files.pixels import open_images
from lt_bench.data.files.readable import unreadable
from lt_bench.data.known_files import Named, known_files
from lt_bench.data.source import read_with_package
from lt_bench.preflight.validate import validate

CLASSES, SIDE = 10, 32
SHARE, AGAIN = 0.03, 0.02  # of the run's time, the first and every other time
ROUNDS = 5


def measure(tiny: bool) -> Iterator[Comparison]:
    """The first look and all others, which agree where they find the same."""
    per_class = 40 if tiny else 1000
    files = f"{CLASSES * per_class:,} small files"
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, LT_BENCH_CACHE=f"{folder}/cache"):
        write_images(Path(folder) / "data", per_class)
        overrides = [
            *("dataset=image_folder", f"dataset.root={folder}/data", f"dataset.num_classes={CLASSES}", "backbone=tiny"),
            *(f"dataset.image_size={SIDE}", "method=ce", "stage_two=none", "recipe=none", "budget=smoke"),
            *("progress=false", "device=cpu", "dataset.workers=0"),
        ]
        time.sleep(SETTLED_NS / 1e9)  # what was written just now is not kept
        rounds = 1 if tiny else ROUNDS
        prices = [price(overrides) for _ in range(rounds)]
        read = [price_of_reading(overrides) for _ in range(rounds)]
        runs = [seconds_of_a_run([*overrides, f"output_dir={folder}/runs{number}"]) for number in range(rounds)]
    run = Measured.of("a smoke run on them", *runs)
    agree = len({found for _, _, found in prices}) == 1
    once, again = (Measured.of("decoding, or looking up", *values) for values in zip(*read, strict=True))
    what = f"what tells broken images among {files} before training: all decoded once"
    yield Comparison(what, "s", run, once, agree=True)
    yield Comparison(f"{what}, every other time", "s", run, again, agree=True, goal=1 / AGAIN)
    for name, values, share in (
        ("the first time", [one[0] for one in prices], SHARE),
        ("every other time", [one[1] for one in prices], AGAIN),
    ):
        what = f"what {files} are known by, {name}, as a part of a smoke run"
        yield Comparison(what, "s", run, Measured.of("reading or looking up", *values), agree, goal=1 / share, row=what)


def price(overrides: list[str]) -> tuple[float, float, str]:
    """Seconds of a look at all files of some lists: with an empty cache and a full one, and what is found."""
    shutil.rmtree(cache_folder(), ignore_errors=True)
    config = validate(compose(overrides))
    lists, seconds = read_with_package(config), []
    parts = {part: Named(files.names, files.labels.tolist()) for part, files in lists.parts().items()}
    for _ in range(2):
        start = time.perf_counter()
        found = known_files(config, lists.root, parts).parts
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1], str(found)


def price_of_reading(overrides: list[str]) -> list[float]:
    """Seconds until all images are known to be whole: with an empty cache and a full one."""
    shutil.rmtree(cache_folder(), ignore_errors=True)
    config, seconds = validate(compose(overrides)), []
    with looked_at_once():
        lists = look(config).lists
        assert lists is not None
        for _ in range(2):
            start = time.perf_counter()
            for files in lists.parts().values():
                images, known = open_images(config, lists.root, files.names), contents_of_files(config)
                assert not unreadable(images, files.names, known, 0, "reading", False)
            seconds.append(time.perf_counter() - start)
    return seconds


def seconds_of_a_run(overrides: list[str]) -> float:
    """Seconds of a run in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "lt_bench", *overrides]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    return time.perf_counter() - start


def write_images(root: Path, per_class: int) -> None:
    """``per_class`` noisy pictures of each class, a fifth of them for testing."""
    random = np.random.RandomState(0)
    for label in range(CLASSES):
        for part, count in (("train", per_class * 4 // 5), ("test", per_class - per_class * 4 // 5)):
            (root / part / str(label)).mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / str(label) / f"{number}.png")


if __name__ == "__main__":
    sys.exit(script(measure))
