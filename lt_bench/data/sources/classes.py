"""The classes of a data set of files: one number for a label in every part, whatever form its list has.

Labels that are numbers are class numbers, where those of the training part lie in 0 .. C - 1. Else the labels of the
training part are names, and classes are numbered in the alphabetical order of these (numbers among each other by size).
Another part is matched by the same names. Where one part is a list of numbers and the other a folder of classes, the
paths in the list tell which number belongs to which folder; where they do not, the order has to be written down.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from lt_bench.data.sources.lists import ImageFiles, Problem, Written

ALPHABETICAL = "alphabetical"
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


def settle(parts: Mapping[str, Written], num_classes: int, order: Sequence[str] | str | None = None) -> Classes:
    """The numbers of all labels; ``order`` are the names of classes 0, 1, ..., or "alphabetical", or not given."""
    train = parts["train"]
    if order == ALPHABETICAL:
        named = next((part for part in parts.values() if not _is_numbered(part)), train)
        order = _sorted(_labels(named))
    if order is not None:
        names, rule = list(order), "dataset.classes"
        known = {name: index for index, name in enumerate(names)}
    elif _counts_from_0(train, num_classes):
        names, rule = [str(index) for index in range(num_classes)], "number"
        known = _in_range(_labels(train), num_classes)
    else:
        names, rule = _sorted(_labels(train)), "name"
        known = {name: index for index, name in enumerate(names)}
    numbers, problems = dict[str, dict[str, int]](), dict[str, list[Problem]]()
    for part, written in parts.items():
        own = _matched(written, known, num_classes, rule)
        told = _told_by_paths(train, written, known, rule)
        problems[part] = []
        if rule == "dataset.classes":
            problems[part] += _contradictions(written, own, told, names)
        elif _is_list_of_numbers(train) and _is_list_of_numbers(written):
            problems[part] += _other_folders(train, written)
        elif told:
            own = told
        numbers[part] = {label: index for label, index in own.items() if index < num_classes}
        problems[part] += _unmatched(written, numbers[part], known, num_classes, rule, train.origin)
        problems[part] += _one_number_twice(written, numbers[part])
        if rule == "number" and not _is_list_of_numbers(written):
            for label, index in numbers[part].items():
                names[index] = label
    return Classes(names, rule, numbers, problems)


def number(label: str) -> int | None:
    """The whole number that a label is, also as 3.0; None for a name."""
    return int(label.partition(".")[0]) if re.fullmatch(r"[0-9]{1,18}(\.0{0,9})?", label) else None


def _labels(written: Written) -> list[str]:
    return list(dict.fromkeys(row.label for row in written.rows))


def _sorted(labels: Collection[str]) -> list[str]:
    if all(number(label) is not None for label in labels):
        return sorted(labels, key=lambda label: (number(label), label))
    return sorted(labels)


def _is_numbered(written: Written) -> bool:
    """Whether its labels are numbers, as those of «path label» lines always should be."""
    return written.form == "text" or all(number(label) is not None for label in _labels(written))


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
        return {label: known[name] for label, name in pairs.items()}
    if _is_list_of_numbers(train) and not _is_list_of_numbers(written):
        pairs = _folders_of(train, set(_labels(written)))
        return {name: known[label] for label, name in pairs.items() if label in known}
    if not _is_list_of_numbers(train) and _is_list_of_numbers(written):
        return {label: known[name] for label, name in _folders_of(written, known.keys()).items()}
    return {}


def _folders_of(written: Written, names: Collection[str]) -> dict[str, str]:
    """The one folder among ``names`` in which all images of a label lie, by label; empty where two labels share one."""
    found: dict[str, set[str | None]] = {}
    places: dict[str, str | None] = {}
    for row in written.rows:
        place = row.name.rpartition("/")[0]
        if place not in places:
            places[place] = next((folder for folder in reversed(place.split("/")) if folder in names), None)
        found.setdefault(row.label, set()).add(places[place])
    told = {label: folder for label, (folder, *others) in found.items() if folder is not None and not others}
    mixed = any(len(folders) > 1 for folders in found.values())
    return {} if mixed or len(set(told.values())) < len(told) else told


def _contradictions(
    written: Written, own: Mapping[str, int], told: Mapping[str, int], names: Sequence[str]
) -> Iterator[Problem]:
    """Numbers of a list that mean another class by ``dataset.classes`` than the folders of its images say."""
    for label in sorted(label for label in told if own.get(label) != told[label]):
        meant = names[own[label]] if label in own else "none"
        what = f"label {label!r} is {meant!r} by dataset.classes, and its images lie in {names[told[label]]!r}"
        yield Problem(written.origin, 0, what)


def _other_folders(train: Written, written: Written) -> Iterator[Problem]:
    """Numbers of a list whose images lie in the folder of another number of the training list."""
    own = {row.name.rpartition("/")[0].rpartition("/")[2] for row in train.rows} - {""}
    usual = {folder: label for label, folder in _folders_of(train, own).items()}
    for label, folder in sorted(_folders_of(written, usual.keys()).items()):
        if number(label) != number(usual[folder]):
            what = f"label {label!r} is that of images in {folder!r}, which have {usual[folder]!r} in {train.origin}"
            yield Problem(written.origin, 0, f"{what}; {WRITTEN_DOWN}")


def _unmatched(
    written: Written, numbers: Mapping[str, int], known: Mapping[str, int], num_classes: int, rule: str, train: str
) -> Iterator[Problem]:
    """Problems of labels without a number: of every line where numbers are expected, of a class where names are."""
    left = [row for row in written.rows if row.label not in numbers]
    if rule == "number" and _is_list_of_numbers(written):
        for row in left:
            yield Problem(written.origin, row.line, f"label {row.label!r} is not one of 0 .. {num_classes - 1}")
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
        yield Problem(written.origin, lines[label], what)


def _one_number_twice(written: Written, numbers: Mapping[str, int]) -> Iterator[Problem]:
    """Folders whose names are two spellings of one number."""
    first: dict[int, str] = {}
    for label, value in numbers.items() if written.form == "folder" else ():
        if value in first:
            yield Problem(written.origin, 0, f"the folders {first[value]!r} and {label!r} are one class")
        first[value] = label


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
