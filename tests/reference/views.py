"""The figures of what a method sees: a drawn picture as it is evaluated, and draws of each view of the method."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image, ImageDraw

from lt_bench.augment.boosted import Boost
from lt_bench.augment.described import is_boosted, spelled_out, written
from lt_bench.augment.views import VIEWS, build_view, in_epoch
from lt_bench.config.compose import compose, groups
from lt_bench.config.dataset import Dataset
from lt_bench.config.signatures import class_attribute, parameters
from lt_bench.contracts import View
from lt_bench.data.batches.scenes import InMemoryScenes
from lt_bench.data.palette import overlaid
from lt_bench.data.sources import digit_scenes
from lt_bench.report.escape import inline

from .markdown import code

FOLDER = "methods/views"
DRAWS = 6  # of a view, as in epochs from the first to the last
SIDE, GAP = 96, 4  # pixels of a shown image, about, and between two
DRAWN = 256  # pixels of the picture that large images are cut from
DATA = {"classification": ("cifar100_lt", "imagenet_lt"), "segmentation": ("digit_scenes",)}
SCENE = 3  # of the training scenes without a tail, which has four digits
# what another processor may round otherwise: a level or two, and beyond that the pixels of a threshold
LEVELS, SHARE = 2, 0.01
Pixels = NDArray[np.uint8]


class Figure(NamedTuple):
    """A view of images of a size: its name, what it does in turn, and how it is built."""

    view: View
    steps: str
    dataset: Dataset

    @property
    def digest(self) -> str:
        """What is the same for all views that do the same."""
        return sha256(f"{self.dataset.image_size} {self.steps}".encode()).hexdigest()[:8]

    @property
    def file(self) -> str:
        """Its file below docs/."""
        return f"{FOLDER}/{self.dataset.image_size}_{self.digest}.png"


@cache
def figures_of(method: str) -> dict[str, list[Figure]]:
    """The figures of a method's views by the data set, those of its first one with small and with large images."""
    target = compose([f"method={method}", "recipe=none"]).method._target_
    return {data: [*_figures(method, data)] for data in DATA[class_attribute(target, "task", "classification")]}


def _figures(method: str, data: str) -> Iterator[Figure]:
    config = compose([f"method={method}", f"dataset={data}"])
    dataset, views = OmegaConf.to_object(config.dataset), config.method.get("views")
    assert isinstance(dataset, Dataset)
    default = parameters(config.method._target_)["views"].default
    for view in {written(view): view for view in views and OmegaConf.to_container(views) or default}.values():
        yield Figure(view, _told(view, dataset), dataset)


def figures() -> dict[str, Figure]:
    """All figures, by their paths below docs/."""
    of_methods = (figures_of(method).values() for method in groups()["method"])
    return {one.file: one for of_data in of_methods for some in of_data for one in some}


def sees(method: str) -> Iterator[str]:
    """The paragraphs of a page with the figures of a method, as Markdown."""
    of_data = figures_of(method)
    if "digit_scenes" in of_data:
        yield f"A scene as it is evaluated, and {DRAWS} draws of each view; below, with its classes in colours."
    else:
        yield (
            f"A picture as it is evaluated, and {DRAWS} draws of each view: from the first epoch to the last, and with "
            "boosted operations at full strength."
        )
    for data, figures in of_data.items():
        yield f"{code(f'dataset={data}')}, {figures[0].dataset.image_size} pixels:"
        for one in figures:
            name = written(one.view)
            yield f"{code(name)}: {inline(one.steps) or 'nothing'}"
            yield f"![Draws of the view {name.strip('[]')}]({one.file.removeprefix('methods/')})"


def _told(view: View, dataset: Dataset) -> str:
    """What a view does in turn, with its parameters."""
    return " → ".join(
        f"{name}({', '.join(f'{key}={written(value)}' for key, value in values.items())})"
        for name, values in spelled_out(view, dataset, VIEWS)
    )


def strip(figure: Figure) -> Pixels:
    """The picture as it is evaluated, and draws of the view beside it, (H, W, 3)."""
    if figure.dataset.task == "segmentation":
        return _of_scene(figure)
    size, boosted = figure.dataset.image_size, is_boosted(figure.view, VIEWS)
    image = picture(max(size, DRAWN) if size > SIDE else size)
    generator = torch.Generator().manual_seed(int(figure.digest, 16))
    shown = [_sized(image.resize((size, size), Image.Resampling.BILINEAR))]
    for epoch in range(DRAWS):
        boost = Boost(torch.ones(1), torch.rand(1, generator=generator)) if boosted else None
        pipeline = build_view(in_epoch(figure.view, epoch, DRAWS), figure.dataset)
        seen = pipeline(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], generator, boost=boost)[0]
        shown.append(_sized(Image.fromarray(_levels(seen, figure.dataset))))
    return _beside(shown)


def _of_scene(figure: Figure) -> Pixels:
    """A scene as it is evaluated, and draws of the view beside it; below each, it with the colours of its classes."""
    images, masks = (torch.from_numpy(array[SCENE : SCENE + 1]) for array in digit_scenes.load(Path()).train)
    scenes = InMemoryScenes(images, masks, partial(build_view, dataset=figure.dataset))
    generator = torch.Generator().manual_seed(int(figure.digest, 16))
    drawn = [(images[0].permute(1, 2, 0).numpy(), masks[0].numpy())]
    for _ in range(DRAWS):
        batch = scenes.batch(torch.arange(1), slice(0, 1), [figure.view], generator)
        drawn.append((_levels(batch.views[0][0], figure.dataset), batch.labels[0].numpy()))
    rows = [[image for image, _ in drawn], [overlaid(image, mask) for image, mask in drawn]]
    lines = [_beside([_sized(Image.fromarray(cell)) for cell in row]) for row in rows]
    return _beside([line.swapaxes(0, 1) for line in lines]).swapaxes(0, 1)


def _levels(seen: torch.Tensor, dataset: Dataset) -> Pixels:
    """An image (3, H, W) as a network sees it in its colours, (H, W, 3)."""
    colours = seen.permute(1, 2, 0).numpy() * np.array(dataset.std) + np.array(dataset.mean)
    return np.ascontiguousarray((255 * colours).round().clip(0, 255).astype(np.uint8))


def _beside(cells: list[Pixels]) -> Pixels:
    """Cells of one height side by side, white between them."""
    bar = np.full((len(cells[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, bar)][:-1], axis=1)


def _sized(cell: Image.Image) -> Pixels:
    """An image with about ``SIDE`` pixels: whole multiples of a small one's, means of a large one's."""
    if cell.width > SIDE:
        return np.asarray(cell.reduce(cell.width // SIDE))
    return np.asarray(cell.resize((cell.width * (SIDE // cell.width),) * 2, Image.Resampling.NEAREST))


@cache
def picture(size: int) -> Image.Image:
    """A house under the sun, drawn by hand: flat colours, a gradient, edges in all directions and fine lines."""
    side, rows = 4 * DRAWN, np.linspace(0, 1, 4 * DRAWN)[:, None]
    sky = np.array([70, 130, 210]) + rows * np.array([130, 90, 30])
    image = Image.fromarray(np.repeat(sky.round().astype(np.uint8)[:, None], side, axis=1))
    pen, at = ImageDraw.Draw(image), lambda *places: [round(place * side) for place in places]
    pen.ellipse(at(0.66, 0.08, 0.88, 0.30), fill="#f8d648")
    pen.polygon(at(0, 0.62, 0.35, 0.42, 0.75, 0.60, 1, 0.50, 1, 1, 0, 1), fill="#4f8f4a")
    pen.polygon(at(0, 1, 0, 0.78, 1, 0.70, 1, 1), fill="#7fb15a")
    pen.rectangle(at(0.22, 0.48, 0.58, 0.82), fill="#c9563c")
    pen.polygon(at(0.16, 0.50, 0.40, 0.24, 0.64, 0.50), fill="#5b3a38")
    pen.rectangle(at(0.34, 0.62, 0.46, 0.82), fill="#e9dfc6")
    for left in (0.25, 0.49):
        pen.rectangle(at(left, 0.55, left + 0.06, 0.62), fill="#9fd3ea", outline="#ffffff", width=side // 100)
    for left in np.arange(0.68, 1, 0.08):
        pen.line(at(left, 0.68, left, 0.86), fill="#f4efe6", width=side // 50)
    pen.line(at(0.64, 0.75, 1, 0.75), fill="#f4efe6", width=side // 60)
    return image.resize((size, size), Image.Resampling.BOX)


def differ(one: Pixels, other: Pixels) -> bool:
    """Whether two strips differ by more than processors round: see ``LEVELS`` and ``SHARE``."""
    if one.shape != other.shape:
        return True
    apart = np.abs(one.astype(int) - other) > LEVELS
    return bool(apart.mean() > SHARE)


def read(path: Path) -> Pixels:
    """The pixels of a file."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def encoded(pixels: Pixels) -> bytes:
    """A strip as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
