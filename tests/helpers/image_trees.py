"""Small trees of JPEG files with lists like ImageNet-LT's: long-tailed, images of several sizes, classes by colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = (24, 17, 12, 9, 6, 5, 4, 3)
STEMS = {"imagenet_lt": "ImageNet_LT", "places_lt": "Places_LT", "inat18": "iNaturalist18"}
# what the published lists count does not hold for these
UNCOUNTED = [f"dataset.{key}=null" for key in ("train_images", "validation_images", "test_images", "class_sizes")]


def picture(label: int, number: int, num_classes: int = len(COUNTS)) -> Image.Image:
    """A smooth picture in a class's colour, between 24 and 59 pixels wide and high."""
    random = np.random.RandomState((label, number))
    size = tuple(random.randint(24, 60, 2).tolist())
    coarse = random.randint(0, 80, (4, 4, 3)) + np.array([20 + 155 * label // num_classes, 150 - 20 * (label % 8), 60])
    return Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def write_classes(folder: Path, counts: tuple[int, ...], first: int = 0) -> list[tuple[str, int]]:
    """``counts[k]`` pictures of class k below ``folder``; their paths there and labels."""
    rows = []
    for label, count in enumerate(counts):
        place = folder / f"n{label:04d}"
        place.mkdir(parents=True)
        for number in range(first, first + count):
            name = f"{place.name}_{number}.JPEG"
            picture(label, number).save(place / name, quality=92)
            rows.append((f"{place.name}/{name}", label))
    return rows


def write_list(path: Path, rows: list[tuple[str, int]]) -> None:
    """Lines «path label»."""
    path.write_text("".join(f"{name} {label}\n" for name, label in rows), encoding="utf-8")


def image_lists(root: Path, stem: str = "ImageNet_LT", counts: tuple[int, ...] = COUNTS) -> Path:
    """A root with train/, val/ and the lists <stem>_train.txt, _val.txt (2 a class) and _test.txt (3) in lists/."""
    train = [(f"train/{name}", label) for name, label in write_classes(root / "train", counts)]
    held_out = [(f"val/{name}", label) for name, label in write_classes(root / "val", (5,) * len(counts), first=1000)]
    (root / "lists").mkdir()
    write_list(root / "lists" / f"{stem}_train.txt", train)
    write_list(root / "lists" / f"{stem}_val.txt", [row for number, row in enumerate(held_out) if number % 5 < 2])
    write_list(root / "lists" / f"{stem}_test.txt", [row for number, row in enumerate(held_out) if number % 5 >= 2])
    return root


def tree(root: Path, dataset: str) -> Path:
    """A root with all that a data set looks for: lists, or folders of classes."""
    if dataset in STEMS:
        return image_lists(root, STEMS[dataset])
    write_classes(root / "train", COUNTS)
    write_classes(root / ("val" if dataset == "imagenet" else "test"), (3,) * len(COUNTS), first=1000)
    return root


def overrides(root: Path, dataset: str = "imagenet_lt", counts: tuple[int, ...] = COUNTS) -> list[str]:
    """Overrides that point a data set at such a tree."""
    return [
        f"dataset={dataset}",
        f'dataset.root="{root}"',
        *([f'dataset.list_dir="{root / "lists"}"'] if dataset in STEMS else []),
        f"dataset.num_classes={len(counts)}",
        "dataset.image_size=16",
        "dataset.workers=0",
        "backbone=tiny",
        "backbone.pretrained=null",
        "backbone.trainable_convolutions=null",
        *UNCOUNTED,
    ]
