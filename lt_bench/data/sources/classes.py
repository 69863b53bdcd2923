"""The classes of a data set of files: one number for a label in every part, whatever form its list has.

Labels that are numbers are class numbers, where those of the training part lie in 0 .. C - 1. Else the labels of the
training part are names, and classes are numbered in the alphabetical order of these (numbers among each other by size).
Another part is matched by the same names. Where one part is a list of numbers and the other a folder of classes, the
paths in the list tell which number belongs to which folder; where they do not, the order has to be written down.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from lt_bench.data.sources.lists import ImageFiles, Problem, Written

ALPHABETICAL = "alphabetical"
MOST = 0.75  # of the images of a label, in one folder, tell which class it is meant to be
FROM_0 = "; labels count from 0, and these seem to count from 1: take 1 from each"
WRITTEN_DOWN = (
    f"write the names in the order of their numbers into a file, one a line: dataset.classes=FILE, or, where that is "
    f"the order of the alphabet, dataset.classes={ALPHABETICAL}"
)


class Classes(NamedTuple):
    """Names of the C classes, the rule that numbered them, and by part the number of each label and what has none."""

    names: list[str]
    rule: str
    numbers: dict[str, dict[str, int]]
    problems: dict[str, list[Problem]]
    num_classes: int


def settle(parts: Mapping[str, Written], num_classes: int | None, order: Sequence[str] | str | None = None) -> Classes:
    """The numbers of all labels; ``order`` are the names of classes 0, 1, ..., or "alphabetical", or not given.

    ``num_classes`` None: as many as ``order`` has, or as the training part has.
    """
    train = parts["train"]
    if order == ALPHABETICAL:
        named = next((part for part in parts.values() if not _is_numbered(part)), train)
        order = _sorted(_labels(named))
    if num_classes is None:
        num_classes = _count(train) if order is None else len(order)
    if order is not None:
        names, rule = list(order), "dataset.classes"
        known = {name: index for index, name in enumerate(names)}
    elif _counts_from_0(train, num_classes):
        names, rule = [str(index) for index in range(num_classes)], "number"
        known = _in_range(_labels(train), num_classes)
    else:
        names, rule = _names(train), "name"
        known = {name: index for index, name in enumerate(names)}
    numbers, problems = dict[str, dict[str, int]](), dict[str, list[Problem]]()
    for part, written in parts.items():
        own = _matched(written, known, num_classes, rule)
        told = _told_by_paths(train, written, known, rule)
        problems[part] = []
        if rule == "dataset.classes":
            places = _in_range(_labels(written), num_classes)
            if told and all(places.get(label) == index for label, index in told.items()):
                own = places  # also where names are numbers, and these numbers are places in their order
            problems[part] += _contradictions(written, own, told, names)
        elif _is_list_of_numbers(train) and _is_list_of_numbers(written):
            problems[part] += _other_folders(train, written)
        elif told:
            own = told
        else:
            problems[part] += _mixed_up(train, written, known, own)
        numbers[part] = {label: index for label, index in own.items() if index < num_classes}
        problems[part] += _unmatched(written, numbers[part], known, num_classes, rule, train.origin)
        problems[part] += _one_number_twice(written, numbers[part])
        problems[part] += _one_value_twice(written, numbers[part])
        if rule == "number" and not _is_list_of_numbers(written):
            for label, index in numbers[part].items():
                names[index] = label
    return Classes(names, rule, numbers, problems, num_classes)


def _count(train: Written) -> int:
    """How many classes the training part has.

    Numbers of a list count from 0, so that the largest tells; one beyond the number of lines is a mistake.
    """
    labels = _labels(train)
    values = {number(label) for label in labels}
    numbers = values - {None}
    if not _is_list_of_numbers(train):
        return len(labels) if None in values else len(numbers)
    up_to = 1 + max((value for value in numbers if value is not None), default=-1)
    return up_to if up_to <= len(train.rows) + len(train.problems) else len(numbers)


def number(label: str) -> int | None:
    """The whole number that a label is, also as 3.0; None for a name."""
    return int(label.partition(".")[0]) if re.fullmatch(r"[0-9]{1,18}(\.0{0,9})?", label) else None


def _labels(written: Written) -> list[str]:
    return list(dict.fromkeys([*(row.label for row in written.rows), *written.empty]))


def _sorted(labels: Collection[str]) -> list[str]:
    if all(number(label) is not None for label in labels):
        return sorted(labels, key=lambda label: (number(label), label))
    return sorted(labels)


def _names(train: Written) -> list[str]:
    """The names of the classes; of several folders whose names are one number, the first."""
    names = _sorted(_labels(train))
    first = {number(name): name for name in reversed(names)}
    return names if None in first else sorted(first.values(), key=names.index)


def _is_numbered(written: Written) -> bool:
    """Whether its labels are numbers; in «path label» lines one is enough: the others are typing errors."""
    labels = _labels(written)
    several = any if written.form == "text" and labels else all
    return several(number(label) is not None for label in labels)


def _is_list_of_numbers(written: Written) -> bool:
    return written.form != "folder" and _is_numbered(written)


def _counts_from_0(train: Written, num_classes: int) -> bool:
    """Whether the labels of the training part are class numbers; folders may have numbers for names."""
    labels = _labels(train)
    return _is_list_of_numbers(train) or (
        _is_numbered(train) and bool(labels) and len(_in_range(labels, num_classes)) == len(labels)
    )


def _in_range(labels: Collection[str], num_classes: int) -> dict[str, int]:
    found = {label: number(label) for label in labels}
    return {label: value for label, value in found.items() if value is not None and value < num_classes}


def _matched(written: Written, known: Mapping[str, int], num_classes: int, rule: str) -> dict[str, int]:
    """The numbers of the labels of a part that is matched by its own labels."""
    labels = _labels(written)
    found = {label: known[label] for label in labels if label in known}
    if rule == "number" or (rule == "dataset.classes" and not found and _is_list_of_numbers(written)):
        return _in_range(labels, num_classes)
    by_value = {number(name): index for name, index in known.items()}
    if None not in by_value:  # names that are numbers have several spellings, such as 3, 03 and 3.0
        found = {label: by_value[number(label)] for label in labels if number(label) in by_value} | found
    return found


def _told_by_paths(train: Written, written: Written, known: Mapping[str, int], rule: str) -> dict[str, int]:
    """The numbers of the labels of a part where one of two lists has numbers, the other one folders, and paths agree.

    Empty where the paths tell nothing, or nothing that is one name for one number.
    """
    if rule == "dataset.classes":
        pairs = _folders_of(written, known.keys()) if _is_list_of_numbers(written) else {}
        if _is_list_of_numbers(written) and not pairs:
            mostly = _mostly_in(written, known.keys())
            pairs = {label: folder for label, (folder, _) in _surely(mostly, mostly.keys()).items()}
        return {label: known[name] for label, name in pairs.items()}
    if _is_list_of_numbers(train) and not _is_list_of_numbers(written):
        pairs = _folders_of(train, set(_labels(written)))
        return {name: known[label] for label, name in pairs.items() if label in known}
    if not _is_list_of_numbers(train) and _is_list_of_numbers(written):
        return {label: known[name] for label, name in _folders_of(written, known.keys()).items()}
    return {}


def _folders_of(written: Written, names: Collection[str]) -> dict[str, str]:
    """The one folder among ``names`` in which all images of a label lie, by label; empty where two labels share one."""
    found = _places(written, names)
    told = {label: folder for label, (folder, *others) in found.items() if folder is not None and not others}
    mixed = any(len(folders) > 1 for folders in found.values())
    return {} if mixed or len(set(told.values())) < len(told) else told


def _places(written: Written, names: Collection[str]) -> dict[str, Counter[str | None]]:
    """The folders among ``names`` in which the images of every label lie, None for none of them, and how many do."""
    found: dict[str, Counter[str | None]] = {}
    places: dict[str, str | None] = {}
    for row in written.rows:
        place = row.name.rpartition("/")[0]
        if place not in places:
            places[place] = next((folder for folder in reversed(place.split("/")) if folder in names), None)
        found.setdefault(row.label, Counter())[places[place]] += 1
    return found


def _mostly_in(written: Written, names: Collection[str]) -> dict[str, tuple[str, int]]:
    """The folder among ``names`` in which ``MOST`` of the images of a label lie, and how many do, by label.

    Empty where folders are no classes: where fewer than half of the labels have one of their own.
    """
    places, found = _places(written, names), dict[str, tuple[str, int]]()
    for label, counts in places.items():
        folder, count = counts.most_common(1)[0]
        if folder is not None and count >= MOST * counts.total():
            found[label] = folder, count
    return found if 2 * len({folder for folder, _ in found.values()}) > len(places) else {}


def _surely(told: Mapping[str, tuple[str, int]], off: Collection[str]) -> dict[str, tuple[str, int]]:
    """Those labels of ``told`` that are ``off`` by more than a wrong label: by several images, or like most others."""
    return {label: told[label] for label in off if told[label][1] > 1 or 2 * len(off) > len(told)}


def _mixed_up(train: Written, written: Written, known: Mapping[str, int], own: Mapping[str, int]) -> Iterator[Problem]:
    """Labels of a list of numbers that mean another class than the folder that nearly all of their images lie in."""
    if _is_list_of_numbers(train) == _is_list_of_numbers(written):
        return
    listed, other, numbers = (train, written, known) if _is_list_of_numbers(train) else (written, train, own)
    folders = own if listed is train else known
    told = _mostly_in(listed, folders.keys())
    off = [label for label, (folder, _) in told.items() if label in numbers and numbers[label] != folders[folder]]
    for label, (folder, count) in sorted(_surely(told, off).items()):
        what = f"label {label!r} is that of {count} images in {folder!r}, another class of {other.origin}"
        yield Problem(listed.origin, 0, f"{what}, and the images of some label lie in several; {WRITTEN_DOWN}")


def _contradictions(
    written: Written, own: Mapping[str, int], told: Mapping[str, int], names: Sequence[str]
) -> Iterator[Problem]:
    """Numbers of a list that mean another class by ``dataset.classes`` than the folders of its images say."""
    for label in sorted(label for label in told if own.get(label) != told[label]):
        meant = names[own[label]] if own.get(label, len(names)) < len(names) else "none"
        what = f"label {label!r} is {meant!r} by dataset.classes, and its images lie in {names[told[label]]!r}"
        yield Problem(written.origin, 0, what)


def _other_folders(train: Written, written: Written) -> Iterator[Problem]:
    """Numbers of a list whose images lie in the folder of another number of the training list."""
    own = {row.name.rpartition("/")[0].rpartition("/")[2] for row in train.rows} - {""}
    usual = {folder: label for label, folder in _folders_of(train, own).items()}
    told = {label: (folder, 1) for label, folder in _folders_of(written, usual.keys()).items()}
    off = {label: one for label, one in told.items() if number(label) != number(usual[one[0]])}
    if not told:
        most_last = sorted(_mostly_in(train, own).items(), key=lambda item: item[1][1])  # a wrong label has few images
        usual = {folder: label for label, (folder, _) in most_last}
        told = _mostly_in(written, usual.keys())
        off = _surely(told, [label for label, (folder, _) in told.items() if number(label) != number(usual[folder])])
    for label, (folder, _) in sorted(off.items()):
        what = f"label {label!r} is that of images in {folder!r}, which have {usual[folder]!r} in {train.origin}"
        yield Problem(written.origin, 0, f"{what}; {WRITTEN_DOWN}")


def _unmatched(
    written: Written, numbers: Mapping[str, int], known: Mapping[str, int], num_classes: int, rule: str, train: str
) -> Iterator[Problem]:
    """Problems of labels without a number: of every line where numbers are expected, of a class where names are."""
    left = [row for row in written.rows if row.label not in numbers]
    if not num_classes:
        return  # the problems of the training part say why there are none
    if rule == "number" and _is_list_of_numbers(written):
        for row in left:
            advice = "" if row.label.isascii() else ", which are written with the digits 0 to 9"
            if number(row.label) == num_classes and 0 not in numbers.values():
                advice = FROM_0
            yield Problem(written.origin, row.line, f"label {row.label!r} is not one of 0 .. {num_classes - 1}{advice}")
        return
    if left and written.origin != train and _is_list_of_numbers(written) and not numbers:
        what = f"its labels are numbers, the classes of {train} have names, and no folders in its paths tell which"
        yield Problem(written.origin, 0, f"{what}; {WRITTEN_DOWN}")
        return
    counts, lines = Counter(row.label for row in left), {row.label: row.line for row in reversed(left)}
    for label, count in counts.items():
        what = f"class {label!r} ({count} image{'' if count == 1 else 's'})"
        if label in known:
            what += f" is number {known[label] + 1} of dataset.num_classes={num_classes}; "
            what += f"set dataset.num_classes={len(known)}"
        elif rule == "number":
            what += f" is none of the numbers in {train}, and no folders in its paths tell which; {WRITTEN_DOWN}"
        else:
            what += f" is not among the {len(known)} of {'the training list' if rule == 'name' else rule}"
            near = (name for name in known if _plain(name) == _plain(label))
            what += next((f"; {ascii(name)} is, and this is {ascii(label)}" for name in near), "")
        yield Problem(written.origin, lines[label], what)


def _one_number_twice(written: Written, numbers: Mapping[str, int]) -> Iterator[Problem]:
    """Folders whose names are two spellings of one number."""
    first: dict[int, str] = {}
    for label, value in numbers.items() if written.form == "folder" else ():
        if value in first:
            yield Problem(written.origin, 0, f"the folders {first[value]!r} and {label!r} are one class")
        first[value] = label


def _one_value_twice(written: Written, numbers: Mapping[str, int]) -> Iterator[Problem]:
    """Labels of different classes that are two spellings of one number, such as 1 and +1, or of one name.

    Names have several spellings in Unicode, and systems of files differ in the one that they keep.
    """
    first: dict[float | str, str] = {}
    for label, index in numbers.items():
        plain = unicodedata.normalize("NFKC", label)
        is_number = written.form != "folder" and re.fullmatch(r"[+-]?\d+(\.\d*)?", plain)
        other = first.setdefault(float(plain) if is_number else unicodedata.normalize("NFC", label), label)
        if numbers[other] != index:
            shown, kind = (repr, "number") if is_number else (ascii, "name")
            what = f"the labels {shown(other)} and {shown(label)} are one {kind} and would be two classes"
            yield Problem(written.origin, 0, f"{what}; write it in one way")


def alike(names: Sequence[str]) -> Iterator[str]:
    """What is said of classes with names that somebody may have written for one class."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_plain(name), []).append(name)
    for several in (several for several in found.values() if len(several) > 1):
        shown = ", ".join(map(ascii, several))
        yield f"{len(several)} classes whose names differ in little: {shown}; where they are one, write it in one way"


def _plain(name: str) -> str:
    """A name without its capitals, blanks at its ends, and spelling in Unicode; a number without zeros before it."""
    plain = unicodedata.normalize("NFKC", name).casefold().strip()
    return plain if (value := number(plain)) is None else str(value)


def named_by_folders(files: ImageFiles) -> dict[int, str]:
    """The folders of the classes of a list, below what all share, where every class has one of its own; else none."""
    places: dict[int, set[str]] = {}
    for name, label in zip(files.names, files.labels.tolist(), strict=True):
        places.setdefault(label, set()).add(name.rpartition("/")[0])
    own = {label: next(iter(found)).split("/") for label, found in places.items() if len(found) == 1}
    if not own or len(own) < len(places) or len({tuple(parts) for parts in own.values()}) < len(own):
        return {}
    shared = next((depth for depth, level in enumerate(zip(*own.values(), strict=False)) if len(set(level)) > 1), 0)
    return {label: "/".join(parts[shared:]) for label, parts in own.items()}
