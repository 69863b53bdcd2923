"""Masks of new images, by a finished run of scenes: files of class numbers, pictures, and a table of shares."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lt_bench.command import csv_cell
from lt_bench.data.files.rgb import BadImage
from lt_bench.data.palette import indexed, overlaid
from lt_bench.errors import UsageError
from lt_bench.files import atomic_writer, writing
from lt_bench.predict.scenes import ScenePredictor

OVERLAY = "_overlay"


class Segmented(NamedTuple):
    """An image's name with the share of its pixels that each class has, (C,), or with what is wrong with it."""

    name: str
    shares: list[float]
    problem: str = ""

    def largest(self, names: Sequence[str], top: int) -> list[tuple[str, float]]:
        """The classes that have the most pixels, without those that have none."""
        order = sorted(range(len(self.shares)), key=lambda label: -self.shares[label])[:top]
        return [(names[label], self.shares[label]) for label in order if self.shares[label]]


def targets(names: Sequence[str], out: Path, overlay: bool) -> list[Path]:
    """Where the mask of each image goes: below ``out``, in folders as the images are.

    Raises UsageError where two images would have one mask, or a mask would take the place of an image.
    """
    folders = [os.path.dirname(os.path.abspath(name)) for name in names]
    above = os.path.commonpath(folders)
    below = [
        out / os.path.relpath(folder, above) / f"{Path(name).stem}.png"
        for folder, name in zip(folders, names, strict=True)
    ]
    owners, images = dict[Path, str](), {os.path.realpath(name) for name in names}
    for name, path in zip(names, below, strict=True):
        for file in (path, *([_beside(path)] if overlay else [])):
            if owners.setdefault(file, name) != name:
                raise UsageError(f"{owners[file]} and {name} would both have the file {file}; predict them one by one")
            if os.path.realpath(file) in images:
                raise UsageError(f"{file} is an image itself; name another folder with --masks DIR")
    return below


def segmented(
    predictor: ScenePredictor, names: Sequence[str], paths: Sequence[Path], overlay: bool, shown: bool
) -> Iterator[Segmented]:
    """Write the mask of every image, in order, and yield what is in it; NotWritten where a file cannot be."""
    from tqdm import tqdm

    for name, path in zip(tqdm(names, desc="predicting", unit="image", disable=not shown), paths, strict=True):
        try:
            pixels = predictor.transform.rgb(name)
        except BadImage as error:
            yield Segmented(name, [], str(error))
            continue
        mask = predictor.of_pixels(pixels)
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, indexed(mask))
        if overlay:
            _write(_beside(path), Image.fromarray(overlaid(pixels, mask)))
        counts = np.bincount(mask.ravel(), minlength=len(predictor.class_names))
        yield Segmented(name, (counts / mask.size).tolist())


def write_shares(path: Path, found: Iterator[Segmented], classes: Sequence[str]) -> None:
    """A table with a row for every image and a column for every class, complete or not there."""
    with atomic_writer(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        rows = csv.writer(text)
        rows.writerow(map(csv_cell, ["image", *classes, "problem"]))
        for one in found:
            cells = [f"{share:.6f}" for share in one.shares] or [""] * len(classes)
            rows.writerow(map(csv_cell, [one.name, *cells, one.problem]))
        text.flush()
        text.detach()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}{OVERLAY}.png")


def _write(path: Path, image: Image.Image) -> None:
    with atomic_writer(path) as file:
        image.save(file, format="PNG")
