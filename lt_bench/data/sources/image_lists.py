"""Data sets of image files: ImageNet-LT, Places-LT, iNaturalist 2018, ImageNet, the user's own folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.data.sources.classes import ALPHABETICAL, named_by_folders, settle
from lt_bench.data.sources.lists import ImageFiles, Problem, numbered, read_names, read_rows
from lt_bench.errors import DataError

SHOWN = 10  # problems in the message of an error; the check command shows all


class ImageLists(NamedTuple):
    """The parts of a data set below one root, the problems of their lists, and the number of classes.

    ``classes`` are the names of the classes by number, as far as there are any, and ``class_rule`` is what numbered
    them: "number", "name" or "dataset.classes". ``remarks`` are what a user is told of the lists
    although nothing is wrong.
    """

    root: Path
    train: ImageFiles
    validation: ImageFiles | None
    test: ImageFiles
    num_classes: int
    problems: list[Problem]
    probe: ImageFiles | None = None
    classes: list[str] | None = None
    class_rule: str | None = None
    remarks: tuple[str, ...] = ()

    def class_name(self, label: int) -> str:
        """The class as it is told of: its name, where it has one beside its number."""
        name = None if self.classes is None else self.classes[label]
        return f"class {label}" if name in (None, str(label)) else f"class {label} ({name})"

    def without_images(self, files: ImageFiles) -> list[str]:
        """The classes that a part has no image of."""
        sizes = np.bincount(files.labels, minlength=self.num_classes)
        return [self.class_name(label) for label in np.flatnonzero(sizes == 0).tolist()]

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
    classes: str | None = None,
    follow_links: bool = False,
) -> ImageLists:
    """The lists of a data set with all their problems; paths are relative to ``root``.

    A list is looked for in ``list_dir`` (null: in ``root``); a folder of classes in ``root``. The probe list may name
    training images again; no other image may be named twice. The numbers are those of the published lists, null for
    unknown: images of each part, and the ``class_sizes`` of the smallest and
    largest training class. A validation or test part of known size has the same number of images in every class.
    ``classes`` is a file of names in the order of the classes, or "alphabetical"; null: see ``classes.settle``.
    ``follow_links``: folders of classes may be links out of the root.
    Raises DataError for a list that is missing or cannot be read.
    """
    named = {"train": train_list, "validation": validation_list, "test": test_list, "probe": probe_list}
    counts = {"train": train_images, "validation": validation_images, "test": test_images}
    written = {part: read_rows(path, root, follow_links) for part, path in find(root, list_dir, named).items()}
    remarks = [f"{part}: {remark}" for part, listed in written.items() for remark in listed.remarks]
    for part in written.keys() - {"train"}:  # these have the classes of the training part
        known = {row.label for row in written["train"].rows}
        unknown = [name for name in written[part].empty if name not in known]
        remarks += [f"{part}: no image in the folder of a class {name!r}, which is none" for name in unknown]
        written[part] = written[part]._replace(empty=())
    given = classes if classes in (None, ALPHABETICAL) else read_names(_folder_of_lists(root, list_dir) / classes)
    settled = settle(written, num_classes, given)
    parts, wrong = dict[str, ImageFiles](), dict[str, list[Problem]]()
    for part, listed in written.items():
        parts[part], problems = numbered(listed, settled.numbers[part])
        wrong[part] = sorted([*settled.problems[part], *problems], key=lambda problem: problem.line)
    names = dict(enumerate(settled.names))
    folders = named_by_folders(parts["train"])
    names |= {label: name for label, name in folders.items() if names.get(label) == str(label)}
    lists = ImageLists(
        *(root, parts["train"], parts.get("validation"), parts["test"], num_classes, [], parts.get("probe")),
        classes=[names.get(label, str(label)) for label in range(num_classes)],
        class_rule=settled.rule,
        remarks=tuple(remarks),
    )
    if classes is not None and len(settled.names) != num_classes:
        what = f"{len(settled.names)} names, and dataset.num_classes={num_classes}"
        lists.problems.append(Problem(f"dataset.classes={classes}", 0, what))
    for part, files in parts.items():
        lists.problems.extend([*wrong[part], *_miscounted(lists, files, counts.get(part), part, class_sizes)])
    uncounted = [name for name in written["train"].empty if name not in settled.numbers["train"]]
    lists.problems.extend(Problem(parts["train"].origin, 0, f"class {name!r} has no image") for name in uncounted)
    lists.problems.extend(_shared(parts))
    return lists


def find(root: Path, list_dir: str | None, named: Mapping[str, str | None]) -> dict[str, Path]:
    """The paths of the named lists: folders of classes below the root, or files in the folder of lists.

    Raises DataError for those that are missing.
    """
    lists = _folder_of_lists(root, list_dir)
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


def _folder_of_lists(root: Path, list_dir: str | None) -> Path:
    return root if list_dir is None else Path(list_dir).expanduser()


def _miscounted(
    lists: ImageLists, files: ImageFiles, images: int | None, part: str, class_sizes: list[int] | None
) -> Iterator[Problem]:
    """The problems of a list that its counts show."""
    sizes = np.bincount(files.labels, minlength=lists.num_classes)
    if images is not None and len(files.names) != images:
        yield Problem(files.origin, 0, f"{len(files.names):,} images, expected {images:,} (dataset.{part}_images)")
    if part == "train":
        for name in lists.without_images(files):
            yield Problem(files.origin, 0, f"{name} has no image (dataset.num_classes={lists.num_classes})")
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
