"""Data sets of image files: ImageNet-LT, Places-LT, iNaturalist 2018, ImageNet, the user's own folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.data.sources.lists import ImageFiles, Problem, read_files
from lt_bench.errors import DataError

SHOWN = 10  # problems in the message of an error; the check command shows all


class ImageLists(NamedTuple):
    """The parts of a data set below one root, the problems of their lists, and the number of classes."""

    root: Path
    train: ImageFiles
    validation: ImageFiles | None
    test: ImageFiles
    num_classes: int
    problems: list[Problem]
    probe: ImageFiles | None = None

    def parts(self) -> dict[str, ImageFiles]:
        """The parts that there are, by name."""
        found = {"train": self.train, "validation": self.validation, "test": self.test, "probe": self.probe}
        return {name: files for name, files in found.items() if files is not None}

    def require_sound(self) -> None:
        """Raise DataError, with the first problems, where a list has any."""
        if self.problems:
            more = len(self.problems) - SHOWN
            shown = [*map(str, self.problems[:SHOWN]), *([f"and {more} more"] if more > 0 else [])]
            advice = "fix the lists; python -m lt_bench.data check, with the same overrides, finds every problem"
            raise DataError("\n".join([*shown, advice]))


def read(
    root: Path,
    *,
    list_dir: str | None,
    train_list: str,
    validation_list: str | None,
    test_list: str,
    num_classes: int,
    probe_list: str | None = None,
    train_images: int | None = None,
    validation_images: int | None = None,
    test_images: int | None = None,
    class_sizes: list[int] | None = None,
) -> ImageLists:
    """The lists of a data set with all their problems; paths are relative to ``root``.

    A list is looked for in ``list_dir`` (null: in ``root``); a folder of classes in ``root``. The probe list may name
    training images again; no other image may be named twice. The numbers are those of the published lists, null for
    unknown: images of each part, and the ``class_sizes`` of the smallest and
    largest training class. A validation or test part of known size has the same number of images in every class.
    Raises DataError for a list that is missing or cannot be read.
    """
    named = {"train": train_list, "validation": validation_list, "test": test_list, "probe": probe_list}
    paths = find(root, list_dir, named)
    counts = {"train": train_images, "validation": validation_images, "test": test_images}
    classes, problems = None, []
    parts: dict[str, ImageFiles] = {}
    for part, path in paths.items():
        parts[part], found, wrong = read_files(path, root, num_classes, classes)
        if part == "train":
            classes = found
        elif classes is None and found is not None and len(found) != num_classes:
            what = f"{len(found)} named classes, expected {num_classes}: numbers go by their alphabetical order"
            problems.append(Problem(str(path), 0, what))
        problems += [*wrong, *_miscounted(parts[part], num_classes, counts.get(part), part, class_sizes)]
    problems += _shared(parts)
    probe = parts.get("probe")
    return ImageLists(root, parts["train"], parts.get("validation"), parts["test"], num_classes, problems, probe)


def find(root: Path, list_dir: str | None, named: Mapping[str, str | None]) -> dict[str, Path]:
    """The paths of the named lists: folders of classes below the root, or files in the folder of lists.

    Raises DataError for those that are missing.
    """
    lists = root if list_dir is None else Path(list_dir).expanduser()
    given = {part: name for part, name in named.items() if name is not None}
    paths = {part: root / name if (root / name).is_dir() else lists / name for part, name in given.items()}
    missing = [part for part, path in paths.items() if not path.exists()]
    if missing:
        places = [f"no {part} list: {paths[part].resolve()}" for part in missing]
        raise DataError(
            "\n".join(places)
            + f"\npoint to the images with dataset.root=DIR (now {root.resolve()}), to the lists with "
            f"dataset.list_dir=DIR, or name others, files or folders of classes, with dataset.{missing[0]}_list=NAME"
        )
    return paths


def _miscounted(
    files: ImageFiles, num_classes: int, images: int | None, part: str, class_sizes: list[int] | None
) -> Iterator[Problem]:
    """The problems of a list that its counts show."""
    sizes = np.bincount(files.labels, minlength=num_classes)
    if images is not None and len(files.names) != images:
        yield Problem(files.origin, 0, f"{len(files.names):,} images, expected {images:,} (dataset.{part}_images)")
    if part == "train":
        for label in np.flatnonzero(sizes == 0).tolist():
            yield Problem(files.origin, 0, f"class {label} has no image (dataset.num_classes={num_classes})")
        if class_sizes and [sizes.min(), sizes.max()] != class_sizes:
            smallest, largest = class_sizes
            yield Problem(
                files.origin,
                0,
                f"classes of {sizes.min()} to {sizes.max()} images, expected {smallest} to {largest} "
                "(dataset.class_sizes)",
            )
    elif images is not None and sizes.min() != sizes.max():
        yield Problem(files.origin, 0, f"classes of {sizes.min()} to {sizes.max()} images, expected all of one size")


def _shared(parts: dict[str, ImageFiles]) -> Iterator[Problem]:
    """Problems of files that are in two parts; the probe list may name training images."""
    owner: dict[str, str] = {}
    for part, files in parts.items():
        for name, line in zip(files.names, files.lines.tolist(), strict=True):
            if name in owner and (part, owner[name]) != ("probe", parts["train"].origin):
                yield Problem(files.origin, line, f"{name} is also in {owner[name]}")
        owner |= dict.fromkeys(files.names, files.origin)


def describe(files: ImageFiles, num_classes: int) -> str:
    """The size of a part in words."""
    sizes = np.bincount(files.labels, minlength=num_classes)
    span = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    return f"{len(files.names):,} images in {num_classes:,} classes of {span}"
