"""Images that are there twice where that changes what is measured: in two parts, or in two classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from lt_bench.data.sources.lists import ImageFiles

REPEATS = ("train", "probe")  # the images of the second may be those of the first


def same_images(
    parts: Mapping[str, ImageFiles], contents: Mapping[str, Sequence[str | None]], class_name: Callable[[int], str]
) -> Iterator[str]:
    """What to say of images of one content in two parts, and of those under two labels in one part.

    ``contents`` are what every image of a part is known by, in its order, None where that is unknown.
    """
    places = {part: _first_places(contents[part]) for part in parts}
    for one, other in combinations(parts, 2):
        if (one, other) == REPEATS:
            continue
        labels = parts[one].labels
        pairs = [
            (places[one][content], position)
            for position, content in enumerate(contents[other])
            if content is not None and content in places[one]
        ]
        if pairs:
            wrong = sum(bool(labels[first] != parts[other].labels[second]) for first, second in pairs)
            first, second = pairs[0]
            what = f"{_count(len(pairs))} of {other} {_are(len(pairs))} in {one} too{_under(wrong)}"
            yield f"{what}, the first {parts[other].names[second]} as {parts[one].names[first]}"
    for part, files in parts.items():
        pairs = [
            (places[part][content], position)
            for position, content in enumerate(contents[part])
            if content is not None and files.labels[places[part][content]] != files.labels[position]
        ]
        if pairs:
            first, second = pairs[0]
            classes = " and ".join(class_name(int(files.labels[place])) for place in (first, second))
            what = f"{_count(len(pairs))} of {part} {_are(len(pairs))} in another class too"
            yield f"{what}, the first {files.names[second]} as {files.names[first]}: {classes}"


def _first_places(contents: Sequence[str | None]) -> dict[str, int]:
    places: dict[str, int] = {}
    for position, content in enumerate(contents):
        if content is not None:
            places.setdefault(content, position)
    return places


def _count(images: int) -> str:
    return f"{images:,} image{'' if images == 1 else 's'}"


def _are(images: int) -> str:
    return "is" if images == 1 else "are"


def _under(wrong: int) -> str:
    return f" ({wrong:,} under another label)" if wrong else ""
