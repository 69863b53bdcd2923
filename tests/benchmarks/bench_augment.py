"""Batch augmentation against three libraries: `python tests/benchmarks/bench_augment.py [--tiny]`.

torchvision on PIL images, one by one, is what the published code does. torchvision v2 and kornia work on whole batches,
under another law: v2 draws once for the batch, kornia in part.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from harness import Comparison, NotMeasured, Side, alike, close, compare, missing, script
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms
from torchvision.transforms import v2

from lt_bench.augment.autoaugment import AutoAugment
from lt_bench.augment.boosted import TABLE, Boost, BoostedRandAugment
from lt_bench.augment.box_blur import BoxBlur
from lt_bench.augment.color import ColorJitter, Grayscale
from lt_bench.augment.crop import CropWithPadding, HorizontalFlip, RandomResizedCrop
from lt_bench.augment.cutout import Cutout
from lt_bench.augment.pipeline import Op, Pipeline

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


ONCE = "one draw for the batch"
Of = Callable[[Any], list[Any]]  # the module kornia.augmentation -> its transforms


class Case(NamedTuple):
    """A view as every library has it, its batch size, the ratio asked for and how the images are stored.

    ``pil`` works on PIL images, ``on_tensors`` after the conversion and before normalisation; ``v2`` and ``kornia``
    work on batches of pixels in [0, 1], and are left out where the library has no such view. ``agree`` judges pixels.
    """

    title: str
    ours: list[Op]
    pil: list[Any]
    batch: int
    goal: float | None
    v2: list[Any] | None = None
    kornia: Of | None = None
    kornia_note: str = ""
    row: str = ""
    layout: torch.memory_format = torch.contiguous_format
    on_tensors: tuple[Any, ...] = ()
    agree: Callable[[Any, Any], bool] = alike


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
    pil = [
        transforms.RandomResizedCrop(32, scale=(0.2, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
    ]
    on_batches = [
        v2.RandomResizedCrop(32, scale=(0.2, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(0.2),
    ]

    def kornia(augmentation: Any) -> list[Any]:
        return [
            augmentation.RandomResizedCrop((32, 32), scale=(0.2, 1.0), cropping_mode="resample"),
            augmentation.RandomHorizontalFlip(),
            augmentation.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            augmentation.RandomGrayscale(p=0.2),
        ]

    title = f"SimCLR view, batch {batch}"
    return Case(title, ours, pil, batch, 8, on_batches, kornia, "one order for the batch", title)


def blurred(batch: int) -> Case:
    """The contrastive views of BCL and PaCo on CIFAR."""
    plain = simclr(batch)
    assert plain.v2 and plain.kornia
    of_kornia = plain.kornia
    title = f"view with blur of BCL and PaCo, batch {batch}"
    return plain._replace(
        title=title,
        ours=[*plain.ours, BoxBlur((0.1, 2.0), p=0.5)],
        pil=[*plain.pil, transforms.RandomApply([PilBlur()], p=0.5)],
        v2=[*plain.v2, v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], p=0.5)],
        kornia=lambda library: [*of_kornia(library), library.RandomGaussianBlur((9, 9), (0.1, 2.0), p=0.5)],
        goal=6,
        row=title,
    )


def classified(batch: int) -> Case:
    """The view of the classification branch of BCL, PaCo and ProCo on CIFAR."""
    ours: list[Op] = [CropWithPadding(32, 4), HorizontalFlip(0.5), AutoAugment(), Cutout(16)]
    policy = transforms.AutoAugmentPolicy.CIFAR10
    flipped = cropped(batch)
    assert flipped.v2 and flipped.kornia
    of_kornia = flipped.kornia
    hole = {"p": 1.0, "scale": (0.25, 0.25), "ratio": (1.0, 1.0)}

    def kornia(augmentation: Any) -> list[Any]:
        return [*of_kornia(augmentation), augmentation.auto.AutoAugment("cifar10"), augmentation.RandomErasing(**hole)]

    return Case(
        f"view 1 of BCL, PaCo, ProCo: crop, flip, AutoAugment, Cutout, batch {batch}",
        ours,
        [*flipped.pil, transforms.AutoAugment(policy, fill=128)],
        batch,
        6,
        [*flipped.v2, v2.AutoAugment(policy, fill=0.5), v2.RandomErasing(**hole)],
        kornia,
        "one policy for the batch",
        f"first view of BCL, PaCo, ProCo (AutoAugment, Cutout), batch {batch}",
        on_tensors=(TensorCutout(16),),
    )


def boosted(batch: int, k: int, floor: float) -> Case:
    """The view of boosted contrastive learning, with a weight of a half for every image."""
    crop, interpolation = (0.1, 1.0), transforms.InterpolationMode.BICUBIC
    plain = simclr(batch)
    ours = [RandomResizedCrop(32, scale=crop, interpolation="bicubic"), *plain.ours[1:]]
    pil = [transforms.RandomResizedCrop(32, scale=crop, interpolation=interpolation), *plain.pil[1:]]
    title = f"boosted view, {k} operation(s), batch {batch}"
    return Case(
        title,
        [*ours, BoostedRandAugment(k, floor, random=k > 1)],
        [*pil, PilBoosted(k, floor)],
        batch,
        6 if k == 1 else None,
        row=f"view of boosted contrastive learning, {k} operation{'s' if k > 1 else ''}, batch {batch}",
    )


def cropped(batch: int) -> Case:
    """The view of CE on CIFAR."""
    title = f"crop with padding and flip, batch {batch}"
    return Case(
        title,
        [CropWithPadding(32, 4), HorizontalFlip(0.5)],
        [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()],
        batch,
        8,
        [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()],
        lambda library: [library.RandomCrop((32, 32), padding=4), library.RandomHorizontalFlip()],
        row=title,
    )


def evaluated(batch: int, layout: torch.memory_format) -> Case:
    """No augmentation: conversion and normalisation, which every library does alike."""
    last = layout == torch.channels_last
    title = f"evaluation, batch {batch}, split stored {'channels_last' if last else 'plane by plane'}"
    row = f"evaluation, batch {batch}" if last else ""
    goal = 30 if last else None
    return Case(title, [], [], batch, goal, [], lambda _: [], row=row, layout=layout, agree=close(atol=1e-5))


def cases(batch: int) -> list[Case]:
    """All comparisons."""
    return [
        simclr(batch),
        simclr(batch // 2)._replace(row=""),
        blurred(batch),
        classified(batch),
        boosted(batch, 1, 10),
        boosted(batch, 2, 5),
        cropped(batch),
        evaluated(batch, torch.contiguous_format),
        evaluated(batch, torch.channels_last),
    ]


def smooth_images(count: int) -> Tensor:
    """Random smooth colour images, uint8 (count, 3, 32, 32)."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1).mul(255).round().to(torch.uint8)


def same_shape(mine: Tensor, theirs: Tensor) -> bool:
    """All that can be asked where one draw is for the whole batch."""
    return mine.shape == theirs.shape and bool(theirs.isfinite().all())


def sides(case: Case) -> Iterator[Side]:
    """The view in every library that is here and has it, colours and normalisation included; ours comes last."""
    images = smooth_images(case.batch).contiguous(memory_format=case.layout)
    arrays = list(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()))
    end = transforms.Normalize(MEAN, STD)
    per_image = transforms.Compose([*case.pil, transforms.ToTensor(), *case.on_tensors, end])
    yield Side(
        "PIL, image by image",
        lambda: torch.stack([per_image(Image.fromarray(array)) for array in arrays]),
        case.goal,
    )
    if case.v2 is not None:
        whole = v2.Compose([v2.ToDtype(torch.float32, scale=True), *case.v2, v2.Normalize(MEAN, STD)])
        law = {"note": ONCE, "agree": same_shape} if case.v2 else {}
        yield Side("torchvision v2", lambda: whole(images), **law)
    if case.kornia is not None and not missing("kornia"):
        import kornia.augmentation as augmentation

        steps = [*case.kornia(augmentation), augmentation.Normalize(MEAN, STD)]
        sequence = augmentation.AugmentationSequential(*steps)
        law = {"note": case.kornia_note, "agree": same_shape} if case.kornia_note else {}
        yield Side("kornia", lambda: sequence(images.float() / 255), **law)
    view, generator = Pipeline(case.ours, MEAN, STD), torch.Generator().manual_seed(0)
    boost = Boost(torch.full((case.batch,), 0.5), torch.rand(case.batch, generator=generator))
    yield Side("lt_bench", lambda: view(images, generator, boost=boost))


def measure(tiny: bool) -> Iterator[Comparison | NotMeasured]:
    """Every view beside every library."""
    for case in cases(32 if tiny else 512):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        *baselines, ours = sides(case)
        yield from compare(case.title, baselines, ours, case.agree, rounds=1 if tiny else 7, row=case.row)
        if case.kornia is not None and (reason := missing("kornia")):
            yield NotMeasured(case.title, "kornia", reason, case.row)


if __name__ == "__main__":
    sys.exit(script(measure))
