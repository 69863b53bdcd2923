"""Splits that are given as lists of images, instead of a selection by class counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.sources.lists import BLANKS, read_lines
from lt_bench.data.splits.imbalance import Profile, class_counts
from lt_bench.data.splits.list_files import LAYOUT, lists_below, split_files
from lt_bench.data.splits.split import Split
from lt_bench.errors import DataError, UsageError
from lt_bench.files import read_array


def read_split(
    folder: Path,
    number: int,
    labels: NDArray[np.integer],
    num_classes: int,
    *,
    factor: float | None,
    profile: Profile,
) -> Split:
    """Split ``number`` of the lists in a folder, over the training images with ``labels`` (N,) in file order.

    A list is a set of positions 0 .. N - 1, as a text file with a number per line or as a NumPy array of integers:

        split1/train.txt          the long-tailed images of split 1
        split1/probe_100shot.txt  labelled images of a few-shot probe, of any number of shots
        probe_full.txt            labelled images of a full probe; without it, all that are not held out
        validation.txt            images that are held out

    A split that has a full probe or validation list of its own keeps it in its folder. Few-shot lists are read for all
    splits; one of S shots has S images per class on average, and some of every class. The classes of the train list,
    sorted by size, must follow the profile whose largest class is an equal share of what is not held out; ``factor``
    None takes any.
    Raises UsageError with a line for every problem with any of the lists.
    """
    paths, lists, problems = split_files(folder, number), dict[str, NDArray[np.int64]](), []
    for name, path in paths.items():
        try:
            lists[name] = _read(path, len(labels))
        except (OSError, ValueError, OverflowError, DataError) as error:
            problems.append(f"{path}: {error}")
    for same in lists_below(folder).values():
        if len(same) > 1:
            problems.append(f"{same[0]} and {same[1].name} are two lists for one purpose; keep one of them")
    if "train" not in paths:
        there = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
        fault = f"has no split{number}/train, but {there}" if folder.is_dir() else "does not exist"
        problems.append(f"dataset.split_dir={folder} {fault}; {LAYOUT}")
    validation = lists.get("validation", np.empty(0, dtype=np.int64))
    for name in lists.keys() - {"validation"}:
        common = np.intersect1d(lists[name], validation)
        if len(common):
            problems.append(f"{paths[name]}: {len(common)} images are held out for validation, the first {common[0]}")
    if "train" in lists:
        largest = (len(labels) - len(validation)) // num_classes
        found = np.bincount(labels[lists["train"]], minlength=num_classes)
        problems += [f"{paths['train']}: {problem}" for problem in _wrong_counts(found, largest, factor, profile)]
    for name in (name for name in lists if name.endswith("shot")):
        found_shots = np.bincount(labels[lists[name]], minlength=num_classes)
        problems += [f"{paths[name]}: {problem}" for problem in _wrong_shots(name, found_shots)]
    if problems:
        raise UsageError("\n".join(problems))
    balanced = lists.get("probe_full", np.setdiff1d(np.arange(len(labels)), validation))
    return Split(lists["train"], validation, found.tolist(), balanced, lists)


def _read(path: Path, images: int) -> NDArray[np.int64]:
    """The positions in a file, ascending."""
    if path.suffix.lower() == ".npy":
        numbers = _array(path)
    else:
        numbers = np.array(list(_lines(path)), dtype=np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise ValueError(f"expected a list of integers, found {numbers.dtype} of shape {numbers.shape}")
    positions, counts = np.unique(numbers.astype(np.int64), return_counts=True)
    if positions[0] < 0 or positions[-1] >= images:
        raise ValueError(f"expected positions in 0 .. {images - 1}, found {positions[0]} .. {positions[-1]}")
    if counts.max() > 1:
        repeated = positions[counts > 1]
        raise ValueError(f"expected each position once, found {len(repeated)} repeated, the first {repeated[0]}")
    return positions


def _array(path: Path) -> NDArray[Any]:
    """The array in a file; OSError, ValueError for one that is damaged."""
    try:
        return read_array(path)
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy evaluates a header as Python's literals, with whatever these raise
        raise ValueError(f"no array ({type(error).__name__}: {error})") from error


def _lines(path: Path) -> Iterator[int]:
    for row, line in enumerate(read_lines(path), start=1):
        text = line.strip(BLANKS)
        if re.fullmatch(r"[+-]?[0-9]+", text):
            yield int(text)
        elif text:
            raise ValueError(f"expected one position per line, found {text[:40]!r} in line {row}")


def _wrong_shots(name: str, found: NDArray[np.int64]) -> Iterator[str]:
    """The problems of the class sizes (C,) of a few-shot list."""
    shots = int(name.rpartition("_")[2].removesuffix("shot"))
    if int(found.sum()) != shots * len(found):
        yield (
            f"expected {shots} images of each of {len(found)} classes, {shots * len(found)}, found {found.sum()}; name "
            "the list by its number of images per class"
        )
    elif not found.all():
        yield f"class {found.argmin()} has no image; check that the list is of this data set"


def _wrong_counts(found: NDArray[np.int64], largest: int, factor: float | None, profile: Profile) -> Iterator[str]:
    """The problems of the class sizes (C,) of a train list."""
    if factor is None:
        if not found.all():
            yield f"class {found.argmin()} has no image; check that the list is of this data set"
        return
    sizes = np.sort(found)[::-1]
    try:
        expected = np.array(class_counts(largest, len(found), factor, profile))
    except UsageError as error:
        yield f"{largest} images of each class are not held out; {error}"
        return
    if not np.array_equal(sizes, expected):
        rank = int((sizes != expected).argmax())
        yield (
            f"{sizes.sum()} images in classes of {sizes[0]} to {sizes[-1]}, where the {profile} profile of "
            f"imbalance.factor={factor:g} has {expected.sum()} in classes of {expected[0]} to {expected[-1]}; class "
            f"{rank + 1} by size has {sizes[rank]}, not {expected[rank]}; set imbalance.factor to that of the list, or "
            "imbalance=native to take it as it is"
        )
