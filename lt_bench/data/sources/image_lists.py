"""Data sets of image files: ImageNet-LT, Places-LT, iNaturalist 2018, ImageNet, the user's own folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lt_bench.data.sources.classes import ALPHABETICAL, FROM_0, alike, named_by_folders, settle
from lt_bench.data.sources.folders import holds_folders
from lt_bench.data.sources.lists import ImageFiles, Problem, Written, numbered, read_names, read_rows
from lt_bench.errors import DataError

USUAL = "train"  # the training list where nobody names one
PART = r"(train|training|test|testing|val|valid|validation|dev|eval|evaluation)[-_ ]?(set|data|images|split|\d+)?"
FEWEST = 2  # classes
SHOWN = 10  # problems in the message of an error; the check command shows all


class ImageLists(NamedTuple):
    """The parts of a data set below one root, the problems of their lists, and the number of classes.

    Without ``test``, that part is cut from the training images. ``classes`` are the names of the classes by number, as
    far as there are any, and ``class_rule`` is what numbered them: "number", "name" or "dataset.classes". ``remarks``
    are what a user is told of the lists although nothing is wrong.
    """

    root: Path
    train: ImageFiles
    validation: ImageFiles | None
    test: ImageFiles | None
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
            advice = "mend files or lists; python -m lt_bench.data check, with the same overrides, finds every problem"
            raise DataError("\n".join([*shown, advice]))


def read(
    root: Path,
    *,
    list_dir: str | None,
    train_list: str,
    validation_list: str | None,
    test_list: str | None,
    num_classes: int | None = None,
    test_fraction: float = 0.0,
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
    unknown: images of each part, and ``class_sizes`` of the smallest and largest training class. A validation or test
    part of known size has as many images in every class.
    ``classes`` is a file of names in the order of the classes, or "alphabetical"; null: see ``classes.settle``, as for
    ``num_classes`` None. With a ``test_fraction`` there is no test part yet, see ``splits.split.make_split``.
    ``follow_links``: folders of classes may be links out of the root.
    Raises DataError for a list that is missing or cannot be read, and for a test list beside a test fraction.
    """
    named = {"train": train_list, "validation": validation_list, "test": test_list, "probe": probe_list}
    counts = {"train": train_images, "validation": validation_images, "test": test_images}
    found = find(root, list_dir, named, test_fraction)
    written = {part: read_rows(path, root, follow_links) for part, path in found.items()}
    remarks = (*_remarks(written), *_unused(list_dir, classes, found), *(_beside(root, found) if test_fraction else ()))
    written |= {part: listed._replace(empty=()) for part, listed in written.items() if part != "train"}
    given = classes if classes in (None, ALPHABETICAL) else read_names(_folder_of_lists(root, list_dir) / classes)
    count = (settled := settle(written, num_classes, given)).num_classes
    parts, wrong = dict[str, ImageFiles](), dict[str, list[Problem]]()
    for part, listed in written.items():
        parts[part], problems = numbered(listed, settled.numbers[part])
        wrong[part] = sorted([*settled.problems[part], *problems], key=lambda problem: problem.line)
    names = dict(enumerate(settled.names))
    folders = named_by_folders(parts["train"])
    names |= {label: name for label, name in folders.items() if names.get(label) == str(label)}
    lists = ImageLists(
        *(root, parts["train"], parts.get("validation"), parts.get("test"), count, [], parts.get("probe")),
        classes=[names.get(label, str(label)) for label in range(count)],
        class_rule=settled.rule,
        remarks=(*remarks, *(f"train: {remark}" for remark in alike(settled.names))),
    )
    if classes is not None and len(settled.names) != count:
        what = f"{len(settled.names)} names, and dataset.num_classes={count}"
        lists.problems.append(Problem(f"dataset.classes={classes}", 0, what))
    for part, files in parts.items():
        if not written[part].rows and not wrong[part]:
            lists.problems.append(Problem(files.origin, 0, f"no image in this {part} list"))
        lists.problems.extend([*wrong[part], *_miscounted(lists, files, counts.get(part), part, class_sizes)])
    for name in (name for name in written["train"].empty if name not in settled.numbers["train"]):
        lists.problems.append(Problem(parts["train"].origin, 0, f"class {name!r} has no image"))
    lists.problems.extend(_shared(parts))
    return lists


def _remarks(written: Mapping[str, Written]) -> Iterator[str]:
    """What is said of the lists, and of folders without images that are no classes of the training part."""
    yield from (f"{part}: {remark}" for part, listed in written.items() for remark in listed.remarks)
    known = {row.label for row in written["train"].rows}
    for part in written.keys() - {"train"}:
        for name in (name for name in written[part].empty if name not in known):
            yield f"{part}: no image in the folder of a class {name!r}, which is none"


def _unused(list_dir: str | None, classes: str | None, found: Mapping[str, Path]) -> Iterator[str]:
    """What is said of a folder of lists that nothing is read from."""
    if list_dir is not None and classes in (None, ALPHABETICAL) and all(path.is_dir() for path in found.values()):
        what = f"dataset.list_dir={list_dir}: no list is read from it, train is the folder {found['train']}"
        yield f"{what}; name the lists, such as dataset.train_list=train.txt dataset.test_list=test.txt"


def _beside(root: Path, found: Mapping[str, Path]) -> Iterator[str]:
    """What is said of a folder of a part that is not read, where a test part is cut all the same."""
    left = [name for name in _named_as_parts(root) if root / name not in found.values()]
    if found["train"] != root and left:
        advice = f"dataset.test_list={left[0]} with no fraction tests on it"
        yield f"not read: {', '.join(left)}, named as parts are; {advice}"


def find(
    root: Path, list_dir: str | None, named: Mapping[str, str | None], test_fraction: float = 0.0
) -> dict[str, Path]:
    """The paths of the named lists: folders of classes below the root, or files in the folder of lists.

    With a ``test_fraction`` there may be none of the test part, and the root may be a folder of classes itself.
    Raises DataError for those that are missing.
    """
    lists = _folder_of_lists(root, list_dir)
    given = {part: name for part, name in named.items() if name is not None}
    paths = {
        part: root / name if os.path.isdir(root / name) and not _is_list(list_dir, name) else lists / name
        for part, name in given.items()
    }
    missing = [part for part, path in paths.items() if not os.path.exists(path)]
    if (
        test_fraction
        and given.get("train") == USUAL
        and os.path.isdir(paths["train"])
        and not holds_folders(paths["train"])
    ):
        missing.append("train")  # it is a class among others
    if test_fraction and "test" in paths:
        if "test" not in missing:
            raise DataError(
                f"there is a test list, {paths['test']}, and dataset.test_fraction={test_fraction:g} is to cut a test "
                "part from the training images; set dataset.test_list=null, or dataset.test_fraction=0"
            )
        missing.remove("test")
        del paths["test"]
    if test_fraction and missing == ["train"] and named["train"] == USUAL and os.path.isdir(root):
        if len(named_as_parts := _named_as_parts(root)) > 1:
            raise DataError(f"dataset.test_fraction={test_fraction:g} is for {root} as one part{_told(named_as_parts)}")
        return {**paths, "train": root}
    if missing or "test" not in paths and not test_fraction:
        places = [f"no {part} list: {paths[part].absolute()}" for part in missing] or ["no test list is named"]
        if not os.path.isdir(root):
            places.insert(0, f"dataset.root={root} is no folder")
        raise DataError(
            "\n".join(places)
            + f"\npoint to the images with dataset.root=DIR (now {root.absolute()}), to the lists with "
            "dataset.list_dir=DIR, or name others, files or folders of classes, with "
            f"dataset.{(missing or ['test'])[0]}_list=NAME{_unsplit(missing, root)}{_test_list_beside(paths, missing)}"
        )
    return paths


def _test_list_beside(paths: Mapping[str, Path], missing: Sequence[str]) -> str:
    """What to type where no test list is found, and one lies beside the training list."""
    train = paths["train"]
    if "train" in missing or not train.is_file() or ("test" in paths and "test" not in missing):
        return ""
    beside = sorted(path for path in train.parent.iterdir() if path.is_file() and "test" in path.name.lower())
    return f"\n{beside[0].name} lies beside the training list: dataset.test_list={beside[0]}" if beside else ""


def _unsplit(missing: Sequence[str], root: Path) -> str:
    """What to type for images that nobody has split, where that may be what is there."""
    if set(missing) - {"train", "test"} or missing == ["train"] or not os.path.isdir(root):
        return ""
    if "train" in missing and (named_as_parts := _named_as_parts(root)):
        return f"\nthere is a folder of part of the images{_told(named_as_parts)}"
    if "test" in missing and (others := [name for name in _named_as_parts(root) if name != USUAL]):
        return f"\nthere is {', '.join(others)}, named as parts are: dataset.test_list={others[0]} tests on it"
    whole = f", or the folders in {root.absolute()} are the classes" if "train" in missing else ""
    return (
        f"\nwhere there is no test part yet{whole}: dataset.test_fraction=0.2 cuts one from the images of every class"
    )


def _is_list(list_dir: str | None, name: str) -> bool:
    """Whether a folder of lists is given and has a file of this name."""
    return list_dir is not None and os.path.isfile(Path(list_dir).expanduser() / name)


def _named_as_parts(root: Path) -> list[str]:
    """The folders below the root that are named as parts of a data set are, and hold folders as these do."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    return [
        name
        for name in names
        if re.fullmatch(PART, name.lower()) and os.path.isdir(root / name) and holds_folders(root / name)
    ]


def _told(names: Sequence[str]) -> str:
    keys = [f"dataset.{'train' if 'train' in name.lower() else 'test'}_list={name}" for name in names]
    return (
        f": {', '.join(names)} {'is' if len(names) == 1 else 'are'} named as parts are; say which is which, such as "
        f"{' '.join(keys)}, or, where they are classes, dataset.train_list=. dataset.test_fraction=0.2"
    )


def _folder_of_lists(root: Path, list_dir: str | None) -> Path:
    return root if list_dir is None else Path(list_dir).expanduser()


def _miscounted(
    lists: ImageLists, files: ImageFiles, images: int | None, part: str, class_sizes: list[int] | None
) -> Iterator[Problem]:
    """The problems of a list that its counts show."""
    if not lists.num_classes:
        return
    sizes = np.bincount(files.labels, minlength=lists.num_classes)
    if images is not None and len(files.names) != images:
        yield Problem(files.origin, 0, f"{len(files.names):,} images, expected {images:,} (dataset.{part}_images)")
    if part == "train":
        if lists.num_classes < FEWEST:
            yield Problem(files.origin, 0, f"{lists.num_classes} class, and a data set has {FEWEST} or more")
        from_1 = lists.class_rule == "number" and np.flatnonzero(sizes == 0).tolist() == [0]
        for name in lists.without_images(files):
            what = f"{name} has no image (dataset.num_classes={lists.num_classes}){FROM_0 if from_1 else ''}"
            yield Problem(files.origin, 0, what)
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
    if not num_classes:
        return "no image of a class"
    sizes = np.bincount(files.labels, minlength=num_classes)
    span = f"{sizes.min():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    return f"{len(files.names):,} images in {num_classes:,} classes of {span}"
