"""Write the figures that some studies allow, each under a name of its own."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lt_bench.command import printable
from lt_bench.figures.kind import Drawing, kinds
from lt_bench.figures.studies import NotPossible, Study
from lt_bench.figures.style import render
from lt_bench.record.conditions import file_name, slug


class Written(NamedTuple):
    """A figure as files: its kind, the study that it shows, None for one of all studies, what it is of, and paths."""

    kind: str
    study: Study | None
    name: str
    paths: list[Path]


def write_figures(
    studies: Sequence[Study], chosen: Collection[str], out: Path, formats: Collection[str]
) -> Iterator[Written]:
    """Write figures of the chosen kinds, those of each study first; why one is not possible is said on stderr."""
    stems = set[str]()
    for study, name, drawing in _drawings(studies, chosen):
        parts = [*([study.name] if study else []), name, *filter(None, [slug(drawing.name)])]
        stem = _unused(file_name("_".join(parts)), stems)
        yield Written(name, study, drawing.name, render(kinds()[name].draw, drawing.data, out / stem, formats))


def _drawings(studies: Sequence[Study], chosen: Collection[str]) -> Iterator[tuple[Study | None, str, Drawing]]:
    found = {name: kind for name, kind in kinds().items() if name in chosen}
    for study in studies:
        for name, kind in found.items():
            if kind.collect is not None:
                try:
                    for drawing in kind.collect(study):
                        yield study, name, drawing
                except NotPossible as error:
                    _say(name, study.title, error)
    for name, kind in found.items():
        if kind.collect_all is not None:
            try:
                for drawing in kind.collect_all(studies):
                    yield None, name, drawing
            except NotPossible as error:
                _say(name, "all runs", error)


def _say(name: str, title: str, error: NotPossible) -> None:
    print(printable(f"lt_bench: no {name} of {title}: {error}"), file=sys.stderr)


def _unused(stem: str, taken: set[str]) -> str:
    """A name that no other figure of this call has, which is then taken."""
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name
