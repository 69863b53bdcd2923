"""Large images, loader work alone: `python tests/benchmarks/bench_input.py [images]`.

BCL's three views of synthetic 500 x 375 JPEG files, one thread, one process: what a worker does per image here (decode,
three crops) against the published pipeline, which does everything on PIL images, one by one. The colour work that has
moved to the device is timed beside it, on this machine's processor.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import alternate, describe, report
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision import transforms

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.data.batches.crops import SplitView
from lt_bench.data.batches.worker import Reader, Task
from lt_bench.data.files.image_file import StoredForm
from lt_bench.data.files.packed import PackedImages, pack
from lt_bench.data.files.pixels import FileImages, PixelSource
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.engine.allocator import keep_freed_memory
from lt_bench.preflight.validate import validate

FILE_GOAL, PACKED_GOAL = 2.5, 3.5
VIEWS = ("cls", "sim_wide", "sim_wide")
FILL = (124, 116, 104)
Operation = Callable[[Image.Image, float], Image.Image]  # with a magnitude
DATASET = validate(compose(["dataset=imagenet_lt"])).dataset


class PilRandAugment:
    """Two operations out of 15, each done with probability 1/2, magnitude about 10: the RandAugment of BCL."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image after both."""
        for operation in random.choices(OPERATIONS, k=2):
            if random.random() < 0.5:
                image = operation(image, min(10.0, max(0.0, random.gauss(10, 0.5))))
        return image


def _sign(value: float) -> float:
    return value if random.random() < 0.5 else -value


def _affine(
    matrix: Callable[[float, tuple[int, int]], tuple[float, ...]],
) -> Callable[[Image.Image, float], Image.Image]:
    def operation(image: Image.Image, magnitude: float) -> Image.Image:
        filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
        place = matrix(magnitude, image.size)
        return image.transform(image.size, Image.Transform.AFFINE, place, random.choice(filters), fillcolor=FILL)

    return operation


def _enhanced(kind: type) -> Operation:
    return lambda image, magnitude: kind(image).enhance(0.1 + 0.18 * magnitude)


def _rotated(image: Image.Image, magnitude: float) -> Image.Image:
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    return image.rotate(_sign(3 * magnitude), random.choice(filters), fillcolor=FILL)


def _solarize_add(image: Image.Image, magnitude: float) -> Image.Image:
    return image.point([min(255, level + int(11 * magnitude)) if level < 128 else level for level in range(256)] * 3)


OPERATIONS: list[Operation] = [
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, _: ImageOps.invert(image),
    _rotated,
    lambda image, magnitude: ImageOps.posterize(image, max(1, int(0.4 * magnitude))),
    lambda image, magnitude: ImageOps.solarize(image, int(25.6 * magnitude)),
    _solarize_add,
    *map(_enhanced, (ImageEnhance.Color, ImageEnhance.Contrast, ImageEnhance.Brightness, ImageEnhance.Sharpness)),
    _affine(lambda magnitude, size: (1, _sign(0.03 * magnitude), 0, 0, 1, 0)),
    _affine(lambda magnitude, size: (1, 0, 0, _sign(0.03 * magnitude), 1, 0)),
    _affine(lambda magnitude, size: (1, 0, _sign(0.045 * magnitude * size[0]), 0, 1, 0)),
    _affine(lambda magnitude, size: (1, 0, 0, 0, 1, _sign(0.045 * magnitude * size[1]))),
]


def published() -> tuple[transforms.Compose, ...]:
    """BCL's three views as its specification has them: `cls`, `sim`, `sim` on PIL images."""
    end = [transforms.ToTensor(), transforms.Normalize(DATASET.mean, DATASET.std)]
    begin = [transforms.RandomResizedCrop(224, scale=(0.08, 1.0)), transforms.RandomHorizontalFlip()]
    cls = [*begin, transforms.ColorJitter(0.4, 0.4, 0.4, 0), PilRandAugment(), *end]
    jitter = transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    sim = transforms.Compose([*begin, jitter, transforms.RandomGrayscale(0.2), *end])
    return transforms.Compose(cls), sim, sim


def write_files(folder: Path, count: int) -> list[str]:
    """JPEG files of 500 x 375 with structure and noise, about 108 kB each; their names."""
    names = []
    for number in range(count):
        draw = np.random.RandomState(number)
        coarse = Image.fromarray(draw.randint(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + draw.randint(-30, 31, smooth.shape)).clip(0, 255).astype(np.uint8)
        names.append(f"{number}.jpg")
        Image.fromarray(noisy).save(folder / names[-1], quality=91)
    return names


def per_image(folder: Path, names: list[str]) -> list[Tensor]:
    """The published loader's work: open, convert and three pipelines, image by image, collated."""
    views = published()
    samples = []
    for name in names:
        with (folder / name).open("rb") as stream:
            image = Image.open(stream).convert("RGB")
        samples.append([view(image) for view in views])
    return [torch.stack(view) for view in zip(*samples, strict=True)]


class Ours:
    """A worker's task on all images, and the rest of the work, which the device does."""

    def __init__(self, images: PixelSource, count: int) -> None:
        self.reader = Reader(images, np.zeros(count, dtype=np.int64), skip=False)
        self.views = [SplitView(name, build_view(name, DATASET), 224) for name in VIEWS]
        self.count, self.generator = count, torch.Generator().manual_seed(0)

    def work(self) -> tuple[Tensor, ...]:
        """Decode and cut."""
        crops = tuple(view.draw(self.count, self.generator) for view in self.views)
        return self.reader[Task(np.arange(self.count), crops)].views

    def on_device(self, views: tuple[Tensor, ...]) -> list[Tensor]:
        """Colour, blur and normalisation in batch."""
        pairs = zip(self.views, views, strict=True)
        return [view.on_device(pixels.permute(0, 3, 1, 2), self.generator) for view, pixels in pairs]


def packed(folder: Path, names: list[str], form: StoredForm) -> PackedImages:
    """A packed copy of the files."""
    files = ImageFiles(names, np.zeros(len(names), dtype=np.int64), "all", np.arange(len(names)))
    target = folder / f"packed-{form.jpeg_quality}"
    pack(ImageLists(folder, files, None, files, 1, []), target, form, workers=0, skip=False, shown=False)
    return PackedImages(target, names, form)


def main(count: int = 24) -> int:
    """Run all comparisons in one thread; 1 if a goal is missed."""
    torch.set_num_threads(1)
    keep_freed_memory()
    random.seed(0)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = write_files(folder, count)
        kilobytes = sum(os.path.getsize(folder / name) for name in names) / count / 1000
        print(
            f"{describe()}; {count} files of 500 x 375, {kilobytes:.0f} kB on average; BCL's three views at 224 pixels"
        )
        sources = {
            "lt_bench, worker, from the files": FileImages(folder, names, StoredForm()),
            "lt_bench, worker, packed JPEG 256": packed(folder, names, StoredForm(256, 92)),
            "lt_bench, worker, packed pixels 256": packed(folder, names, StoredForm(256)),
        }
        workers = {name: Ours(images, count) for name, images in sources.items()}
        theirs, device = "published, PIL, image by image", "colour work that moved to the device"
        ours = next(iter(workers.values()))
        cut = ours.work()
        candidates: dict[str, Callable[[], object]] = {theirs: lambda: per_image(folder, names)}
        candidates |= {name: worker.work for name, worker in workers.items()}
        seconds = alternate({**candidates, device: lambda: ours.on_device(cut)}, rounds=5)
    goals = (FILE_GOAL, PACKED_GOAL, PACKED_GOAL)
    met = []
    for name, goal in zip(workers, goals, strict=True):
        rows = {key: seconds[key] for key in (theirs, name, device)}
        met.append(report(name, rows, theirs, name, goal) >= goal)
    print("\nimages per second and core, median round")
    for name, values in seconds.items():
        print(f"  {name:<40} {count / sorted(values)[len(values) // 2]:10.1f}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
