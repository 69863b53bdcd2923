"""A sheet of what a method sees: images from head to tail, each under several draws of every view of the method."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from lt_bench.augment.described import is_boosted, written
from lt_bench.augment.views import VIEWS
from lt_bench.config.schema import Config
from lt_bench.contracts import Method, TrainInfo, View
from lt_bench.data.batches.scenes import InMemoryScenes
from lt_bench.data.batches.scenes_from_disk import DiskScenes
from lt_bench.data.batches.source import RankShare
from lt_bench.data.browse_scenes import scene_cells
from lt_bench.data.load import Data, load_data
from lt_bench.files import write_atomic
from lt_bench.preflight.build import build

ROWS, DRAWS = 8, 4  # images, and draws of each view
SIDE = 96  # pixels of a cell, at least; whole multiples of a small image's pixels
GAP, MARGIN = 4, 8
LONGEST = 30  # characters, of four bytes at most, of a name in that of the file


class Sheet(NamedTuple):
    """What is on a sheet: (R, K, S, S, 3) uint8, the names of the R images, and each view's name with its columns."""

    cells: np.ndarray
    names: list[str]
    views: list[tuple[str, int]]


def browse(config: Config) -> Path:
    """Write the sheet of a config's method on its data to figures/ in ``output_dir``; its path.

    Raises UsageError and DataError as a run does.
    """
    data = load_data(config, torch.device("cpu"))
    path = Path(config.output_dir).expanduser() / "figures"
    path /= f"views_{config.dataset.name[:LONGEST]}_{config.method['name'][:LONGEST]}.png".replace("/", "-")
    about = f"{config.method['title']} on {config.dataset.title}: the image as it is evaluated, and draws of every view"
    buffer = io.BytesIO()
    collected = _of_scenes if isinstance(data.train, (InMemoryScenes, DiskScenes)) else collect
    draw(collected(config, data), about).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
    return path


def collect(config: Config, data: Data) -> Sheet:
    """Images of classes from head to tail, evaluated as they are and under every view that stage one's batches have."""
    method = _method(config, data)
    labels = data.train.labels.numpy()
    positions = torch.tensor([int(np.flatnonzero(labels == label)[0]) for label in _classes(data) if label in labels])
    views = [*{written(view): view for view in method.views}.values()]
    strength = torch.ones(len(labels)) if method.gives_strength else None
    columns = [_seen(data, ["plain"], positions, config.seed, None)]
    columns += [_seen(data, views, positions, config.seed + 1 + draw, strength) for draw in range(DRAWS)]
    by_view = [columns[0][0], *(one[number] for number in range(len(views)) for one in columns[1:])]
    scale, shift = np.array(data.seen.std), np.array(data.seen.mean)
    pixels = np.stack([one.permute(0, 2, 3, 1).numpy() * scale + shift for one in by_view], axis=1)
    names = [f"{_name(data, int(labels[where]))}, {data.train_counts[labels[where]]:,} images" for where in positions]
    full = {True: " (full strength)", False: ""}
    headings = [("evaluated", 1), *((f"{written(one)}{full[is_boosted(one, VIEWS)]}", DRAWS) for one in views)]
    return Sheet((255 * pixels).round().clip(0, 255).astype(np.uint8), names, headings)


def _of_scenes(config: Config, data: Data) -> Sheet:
    """Scenes with classes from head to tail, evaluated as they are, their masks, and both under the method's view."""
    return Sheet(*scene_cells(config, data, _method(config, data), _classes(data), DRAWS))


def _classes(data: Data) -> np.ndarray:
    """As many classes as there are rows, evenly from head to tail."""
    order = np.argsort(-data.train_counts, kind="stable")
    return np.asarray(order[np.unique(np.linspace(0, len(order) - 1, ROWS).round().astype(int))])


def _method(config: Config, data: Data) -> Method:
    encoder = build(config.backbone, "backbone")
    counts = torch.from_numpy(data.train_counts)
    info = TrainInfo(data.train.labels, data.num_classes, config.train.epochs, counts=counts)
    method: Method = build(config.method, "method", encoder, info)
    return method


def _seen(data: Data, views: Sequence[View], positions: Any, seed: int, strength: Any) -> tuple[torch.Tensor, ...]:
    """The images at some positions of the train split under each view, (R, 3, S, S) each, of one draw."""
    every = slice(0, len(positions))
    generator = torch.Generator().manual_seed(seed)
    (batch,) = data.train.batches(positions, [RankShare(0, every, every)], views, lambda step: generator, strength)
    return batch.views


def _name(data: Data, label: int) -> str:
    names = data.manifest.get("classes")
    name = names[label] if names else str(label)
    return f"class {label}" if name == str(label) else f"{label} {name}"


def draw(sheet: Sheet, about: str) -> Image.Image:
    """The sheet as one image: a row for each image under its name, the names of the views above their columns."""
    count, columns, size = sheet.cells.shape[:3]
    side = size * max(1, -(-SIDE // size))
    font = ImageFont.load_default(14)
    line, gaps = 22, [0, *(GAP + 2 * MARGIN * (number in _starts(sheet)) for number in range(1, columns))]
    lefts = (MARGIN + np.cumsum(gaps) + side * np.arange(columns)).tolist()
    tops = [MARGIN + 2 * line + row * (side + line + GAP) for row in range(count)]
    canvas = Image.new("RGB", (lefts[-1] + side + MARGIN, tops[-1] + line + side + MARGIN), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, MARGIN), _fitting(about, font, canvas.width - 2 * MARGIN), "black", font)
    for start, (view, wide) in zip(_starts(sheet), sheet.views, strict=True):
        room = wide * (side + GAP)
        pen.text((lefts[start], MARGIN + line), _fitting(view, font, room), "black", font)
    for top, name, cells in zip(tops, sheet.names, sheet.cells, strict=True):
        pen.text((lefts[0], top), _fitting(name, font, canvas.width - 2 * MARGIN), "#555555", font)
        for left, cell in zip(lefts, cells, strict=True):
            canvas.paste(Image.fromarray(cell).resize((side, side), Image.Resampling.NEAREST), (left, top + line))
    return canvas


def _starts(sheet: Sheet) -> list[int]:
    """The first column of each view."""
    wide = [columns for _, columns in sheet.views]
    return np.cumsum([0, *wide[:-1]]).tolist()


def _fitting(text: str, font: Any, room: float) -> str:
    """A text on one line, cut where it is longer than there is room."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    if font.getlength(line) <= room:
        return line
    while line and font.getlength(f"{line}…") > room:
        line = line[:-1]
    return f"{line}…"
