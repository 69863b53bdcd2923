"""Batch augmentation against the per-image PIL pipeline of torchvision: `python tests/benchmarks/bench_augment.py`."""

from __future__ import annotations

import random
import sys
from typing import NamedTuple

import numpy as np
import torch
from harness import alternate, describe, report
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from lt_bench.augment.autoaugment import AutoAugment
from lt_bench.augment.boosted import TABLE, Boost, BoostedRandAugment
from lt_bench.augment.box_blur import BoxBlur
from lt_bench.augment.color import ColorJitter, Grayscale
from lt_bench.augment.crop import CropWithPadding, HorizontalFlip, RandomResizedCrop
from lt_bench.augment.cutout import Cutout
from lt_bench.augment.pipeline import Op, Pipeline
from lt_bench.engine.allocator import keep_freed_memory

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Case(NamedTuple):
    """A view, the same for both sides, its batch size, the ratio asked for and how the images are stored.

    ``theirs`` works on PIL images, ``on_tensors`` after the conversion and before normalisation.
    """

    title: str
    ours: list[Op]
    theirs: list
    batch: int
    goal: float | None
    layout: torch.memory_format = torch.contiguous_format
    on_tensors: tuple = ()


class PilBlur:
    """The blur of SimCLR-type views in the published code: Pillow's, with a strength drawn for the image."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image, blurred."""
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def _moved(image: Image.Image, coefficients: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


def _cut_out(image: Image.Image, value: float) -> Image.Image:
    (width, height), side = image.size, value * image.width
    left, top = (int(max(0, random.uniform(0, size) - side / 2)) for size in image.size)
    ImageDraw.Draw(image).rectangle((left, top, min(width, left + side), min(height, top + side)), (125, 123, 114))
    return image


# in the order of lt_bench's table
PIL_OPERATIONS = (
    lambda image, v: _moved(image, (1, v, 0, 0, 1, 0)),
    lambda image, v: _moved(image, (1, 0, 0, v, 1, 0)),
    lambda image, v: _moved(image, (1, 0, v * image.width, 0, 1, 0)),
    lambda image, v: _moved(image, (1, 0, 0, 0, 1, v * image.height)),
    lambda image, v: image.rotate(v),
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.invert(image),
    lambda image, _: ImageOps.equalize(image),
    ImageOps.solarize,
    lambda image, v: ImageOps.posterize(image, int(v)),
    lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    lambda image, v: ImageEnhance.Color(image).enhance(v),
    lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    _cut_out,
)


class PilBoosted:
    """Boosted RandAugment of one image: ``k`` operations, each with a probability of a half."""

    def __init__(self, k: int, floor: float) -> None:
        self.k, self.strength = k, floor + (30 - floor) / 2

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image after the operations that are applied."""
        for row in random.choices(range(len(TABLE)), k=self.k):
            low, high, _, signed = TABLE[row][1:]
            if random.random() < 0.5:
                value = low + self.strength / 30 * (high - low)
                image = PIL_OPERATIONS[row](image, -value if signed and random.random() > 0.5 else value)
        return image


class TensorCutout:
    """DeVries & Taylor's cutout of one image: a mask made with numpy."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, image: Tensor) -> Tensor:
        """The image (3, H, W) with a hole."""
        height, width = image.shape[1:]
        row, column = np.random.randint(height), np.random.randint(width)
        top, bottom = np.clip([row - self.length // 2, row + self.length // 2], 0, height)
        left, right = np.clip([column - self.length // 2, column + self.length // 2], 0, width)
        mask = np.ones((height, width), np.float32)
        mask[top:bottom, left:right] = 0.0
        return image * torch.from_numpy(mask).expand_as(image)


def simclr(batch: int) -> Case:
    """The view of SimCLR-type methods on CIFAR."""
    ours: list[Op] = [
        RandomResizedCrop(32),
        HorizontalFlip(0.5),
        ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        Grayscale(0.2),
    ]
    theirs = [
        transforms.RandomResizedCrop(32, scale=(0.2, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
    ]
    return Case(f"SimCLR view, batch {batch}", ours, theirs, batch, 8)


def blurred(batch: int) -> Case:
    """The contrastive views of BCL and PaCo on CIFAR."""
    plain = simclr(batch)
    theirs = [*plain.theirs, transforms.RandomApply([PilBlur()], p=0.5)]
    return Case(f"sim view with blur, batch {batch}", [*plain.ours, BoxBlur((0.1, 2.0), p=0.5)], theirs, batch, 6)


def classified(batch: int) -> Case:
    """The view of the classification branch of BCL, PaCo and ProCo on CIFAR."""
    ours: list[Op] = [CropWithPadding(32, 4), HorizontalFlip(0.5), AutoAugment(), Cutout(16)]
    theirs = [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10, fill=128),
    ]
    title = f"view 1 of BCL, PaCo, ProCo: crop, flip, AutoAugment, Cutout, batch {batch}"
    return Case(title, ours, theirs, batch, 6, on_tensors=(TensorCutout(16),))


def boosted(batch: int, k: int, floor: float) -> Case:
    """The view of boosted contrastive learning, with a weight of a half for every image."""
    crop, interpolation = (0.1, 1.0), transforms.InterpolationMode.BICUBIC
    plain = simclr(batch)
    ours = [RandomResizedCrop(32, scale=crop, interpolation="bicubic"), *plain.ours[1:]]
    theirs = [transforms.RandomResizedCrop(32, scale=crop, interpolation=interpolation), *plain.theirs[1:]]
    return Case(
        f"boosted view, {k} operation(s), batch {batch}",
        [*ours, BoostedRandAugment(k, floor, random=k > 1)],
        [*theirs, PilBoosted(k, floor)],
        batch,
        6 if k == 1 else None,
    )


def cases() -> list[Case]:
    """All comparisons."""
    theirs = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    return [
        simclr(512),
        simclr(256),
        blurred(512),
        classified(512),
        boosted(512, 1, 10),
        boosted(512, 2, 5),
        Case("crop with padding and flip, batch 512", [CropWithPadding(32, 4), HorizontalFlip(0.5)], theirs, 512, 8),
        Case("evaluation, batch 512, split stored plane by plane", [], [], 512, None),
        Case("evaluation, batch 512, split stored channels_last", [], [], 512, 30, torch.channels_last),
    ]


def smooth_images(count: int) -> Tensor:
    """Random smooth colour images, uint8 (count, 3, 32, 32)."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1).mul(255).round().to(torch.uint8)


def compare(case: Case) -> bool:
    """Time both sides in turn; whether the goal is met."""
    images = smooth_images(case.batch).contiguous(memory_format=case.layout)
    arrays = list(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
    view, generator = Pipeline(case.ours, MEAN, STD), torch.Generator().manual_seed(0)
    boost = Boost(torch.full((case.batch,), 0.5), torch.rand(case.batch, generator=generator))
    per_image = transforms.Compose(
        [*case.theirs, transforms.ToTensor(), *case.on_tensors, transforms.Normalize(MEAN, STD)]
    )
    names = {"pil": "torchvision on PIL, image by image", "batch": "lt_bench, whole batch"}
    seconds = alternate(
        {
            names["pil"]: lambda: torch.stack([per_image(Image.fromarray(array)) for array in arrays]),
            names["batch"]: lambda: view(images, generator, boost=boost),
        }
    )
    ratio = report(case.title, seconds, names["pil"], names["batch"], case.goal)
    best = {key: case.batch / min(seconds[name]) for key, name in names.items()}
    print(f"  views per second, best round: {best['pil']:.0f} -> {best['batch']:.0f}")
    return case.goal is None or ratio >= case.goal


def main() -> int:
    """Run all comparisons in one thread; 1 if a goal is missed."""
    torch.set_num_threads(1)
    kept = keep_freed_memory()
    print(f"{describe()}, freed memory {'kept' if kept else 'returned'}")
    return 0 if all([compare(case) for case in cases()]) else 1


if __name__ == "__main__":
    sys.exit(main())
