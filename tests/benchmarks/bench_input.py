"""Large images, without worker processes: `python tests/benchmarks/bench_input.py [--tiny]`.

Synthetic 500 x 375 JPEG files. First one crop of each by either decoder, which is to be 500 images a second of a core.
Then BCL's three views: a worker's task alone, decode and three crops, beside three
libraries that cut the same boxes; then with the colour work, which here is done in batches, beside the published
pipeline, which does everything on PIL images, one by one. All is timed on this machine's processor.
"""

from __future__ import annotations

import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from harness import Comparison, NotMeasured, Side, alike, compare, missing, script
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision import transforms

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.data.batches.crops import CentralCrops, RandomCrops, SplitView
from lt_bench.data.batches.worker import Reader, Task
from lt_bench.data.files.image_file import StoredForm
from lt_bench.data.files.packed import PackedImages, pack
from lt_bench.data.files.pixels import FileImages, PixelSource
from lt_bench.data.sources.image_lists import ImageLists
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.preflight.validate import validate

FASTEST = 500  # images a second of a core, of one crop each
GOAL = 0.9  # beside PIL, with the colour work on both sides or on none: no slower, up to noise
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


Cut = Callable[[bytes, list[RandomCrops], int], list[np.ndarray]]  # a file, the crops of each view, the image's number


def with_pil(data: bytes, views: list[RandomCrops], number: int) -> list[np.ndarray]:
    """Decode with Pillow, and cut and resize in one of its calls."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    found = []
    for crops in views:
        top, left, height, width = crops.box(number, image.height, image.width)
        box = (left, top, left + width, top + height)
        cut = image.crop(box).resize(crops.shape, Image.Resampling.BILINEAR)
        found.append(np.asarray(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crops.flipped[number] else cut))
    return found


def with_opencv(decode: Callable[[bytes], np.ndarray]) -> Cut:
    """Decode as given, resize with OpenCV, which does not filter."""
    import cv2

    cv2.setNumThreads(1)

    def cut(data: bytes, views: list[RandomCrops], number: int) -> list[np.ndarray]:
        pixels = decode(data)
        found = []
        for crops in views:
            top, left, height, width = crops.box(number, *pixels.shape[:2])
            crop = cv2.resize(pixels[top : top + height, left : left + width], crops.shape)
            found.append(cv2.flip(crop, 1) if crops.flipped[number] else crop)
        return found

    return cut


def with_albumentations() -> Cut:
    """Decode with OpenCV; crops and flips are albumentations' own, of the same law."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or else it asks the network for a newer version
    import albumentations
    import cv2

    cv2.setNumThreads(1)
    steps = [albumentations.RandomResizedCrop((224, 224), scale=(0.08, 1.0)), albumentations.HorizontalFlip(p=0.5)]
    view = albumentations.Compose(steps, seed=0)

    def cut(data: bytes, views: list[RandomCrops], number: int) -> list[np.ndarray]:
        pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return [view(image=pixels)["image"] for _ in views]

    return cut


def decoded_by_simplejpeg(data: bytes) -> np.ndarray:
    """With libjpeg-turbo, whole."""
    import simplejpeg

    return simplejpeg.decode_jpeg(data, "RGB")


class Library(NamedTuple):
    """The modules that a library needs, what makes its side, and how near an image's mean comes to ours, in levels."""

    modules: tuple[str, ...]
    make: Callable[[], Cut]
    levels: float = 1.0
    goal: float | None = None
    note: str = ""


LIBRARIES = {
    "PIL": Library((), lambda: with_pil, goal=GOAL),
    "simplejpeg and OpenCV": Library(
        ("simplejpeg", "cv2"), lambda: with_opencv(decoded_by_simplejpeg), note="no antialiasing"
    ),
    "OpenCV and albumentations": Library(
        ("cv2", "albumentations"), with_albumentations, levels=12.0, note="no antialiasing"
    ),
}


def near(levels: float) -> Callable[[list[Tensor], list[Tensor]], bool]:
    """A function that says whether the mean of every image in every view is the same up to some levels of 255."""

    def agree(mine: list[Tensor], theirs: list[Tensor]) -> bool:
        means = [torch.stack([view.flatten(1).double().mean(1) for view in views]) for views in (mine, theirs)]
        return torch.allclose(*means, rtol=0, atol=levels)

    return agree


def task(cut: Cut, folder: Path, names: list[str], views: list[RandomCrops]) -> Callable[[], list[Tensor]]:
    """A worker's task in another library: the views of all files, (N, 224, 224, 3) uint8 each."""

    def work() -> list[Tensor]:
        images = [cut((folder / name).read_bytes(), views, number) for number, name in enumerate(names)]
        return [torch.from_numpy(np.stack(view)) for view in zip(*images, strict=True)]

    return work


class Ours:
    """A worker's task on all images, and the rest of the work, which the device does."""

    def __init__(self, images: PixelSource, count: int, names: Sequence[str] = VIEWS) -> None:
        self.reader = Reader(images, np.zeros(count, dtype=np.int64), skip=False)
        self.views = [SplitView(name, build_view(name, DATASET), CentralCrops(224, 0.875)) for name in names]
        self.count, self.generator = count, torch.Generator().manual_seed(0)
        self.crops = [view.draw(count, self.generator) for view in self.views]

    def work(self) -> list[Tensor]:
        """Decode and cut."""
        return list(self.reader[Task(np.arange(self.count), tuple(self.crops))].views)

    def whole(self) -> list[Tensor]:
        """And colour, blur and normalisation in batch."""
        pairs = zip(self.views, self.work(), strict=True)
        return [view.on_device(pixels.permute(0, 3, 1, 2), self.generator) for view, pixels in pairs]


def packed(folder: Path, names: list[str], form: StoredForm) -> PackedImages:
    """A packed copy of the files."""
    files = ImageFiles(names, np.zeros(len(names), dtype=np.int64), "all", np.arange(len(names)))
    target = folder / f"packed-{form.jpeg_quality}"
    pack(ImageLists(folder, files, None, files, 1, []), target, form, workers=0, skip=False, shown=False)
    return PackedImages(target, names, form)


def same_pixels(mine: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether all views are the same up to one level."""
    return all((one.int() - other.int()).abs().max() <= 1 for one, other in zip(mine, theirs, strict=True))


def one_crop(folder: Path, names: list[str], rounds: int) -> Iterator[Comparison | NotMeasured]:
    """A worker's task of one crop of each file: libjpeg-turbo beside Pillow, and beside another library's resizing."""
    row = f"one 224-pixel crop of {len(names)} images from JPEG files: decode and crop"
    if reason := missing("simplejpeg"):
        yield NotMeasured(row, "dataset.decoder=turbo", reason, row)
        return
    pillow, turbo = (
        Ours(FileImages(folder, names, StoredForm(), decoder=name), len(names), VIEWS[:1])
        for name in ("pillow", "turbo")
    )
    sides = [Side("dataset.decoder=pillow", pillow.work, agree=same_pixels)]
    library = LIBRARIES[other := "simplejpeg and OpenCV"]
    if not missing(*library.modules):
        work = task(library.make(), folder, names, turbo.crops)
        sides.append(Side(other, work, note=library.note, agree=near(library.levels)))
    ours = Side("dataset.decoder=turbo", turbo.work)
    for one in compare(row, sides, ours, near(1.0), rounds, row):
        yield replace(one, limit=len(names) / FASTEST)


def alike_views(mine: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether all views have the same distribution."""
    return all(alike(*pair) for pair in zip(mine, theirs, strict=True))


def decoding(ours: Ours, folder: Path, names: list[str], row: str, rounds: int) -> Iterator[Comparison | NotMeasured]:
    """A worker's task, which has no colour work, beside the same of every library on the same files."""
    row = f"{row}: decode and crop"
    sides = []
    for name, (modules, make, levels, goal, note) in LIBRARIES.items():
        if reason := missing(*modules):
            yield NotMeasured(row, name, reason, row)
        else:
            work = task(make(), folder, names, ours.crops)
            sides.append(Side(name, work, goal, note=note, agree=near(levels)))
    yield from compare(row, sides, Side("lt_bench", ours.work), near(1.0), rounds, row)


def measure(tiny: bool) -> Iterator[Comparison | NotMeasured]:
    """The task beside every library, and all of the work beside the published pipeline, from each kind of store."""
    count, rounds = (8, 1) if tiny else (24, 5)
    random.seed(0)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = write_files(folder, count)
        yield from one_crop(folder, names, rounds)
        sources: dict[str, PixelSource] = {
            "JPEG files": FileImages(folder, names, StoredForm()),
            "packed JPEGs of 256": packed(folder, names, StoredForm(256, 92)),
            "packed pixels of 256": packed(folder, names, StoredForm(256)),
        }
        for name, images in sources.items():
            row = f"three 224-pixel views of {count} images from {name}"
            yield from decoding(Ours(images, count), folder, names, row, rounds)
            yield from compare(
                f"{row}: with all colour work",
                [Side("published, PIL, image by image", lambda: per_image(folder, names), GOAL)],
                Side("lt_bench", Ours(images, count).whole),
                alike_views,
                rounds,
                f"{row}: with all colour work",
            )


if __name__ == "__main__":
    sys.exit(script(measure))
