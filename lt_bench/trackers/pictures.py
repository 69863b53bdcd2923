"""The figures of one finished run that trackers are given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lt_bench.command import printable
from lt_bench.figures.kind import kinds
from lt_bench.figures.studies import read_studies
from lt_bench.figures.style import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ("class_accuracy", "training_curves", "confusion")


def pictures(folder: Path) -> Iterator[tuple[str, Figure]]:
    """Each figure that the run in a folder allows, with its name; why there is none of a kind is said.

    A figure is only to be used until the next one is asked for.
    """
    for name in SHOWN:
        kind = kinds()[name]
        try:
            data = [
                drawing.data
                for study in read_studies([folder])
                for drawing in (kind.collect(study) if kind.collect else ())
            ]
        except (OSError, ValueError) as error:
            print(printable(f"no {name}: {error}"), file=sys.stderr)
            continue
        for one in data[:1]:  # of one run
            with drawn(kind.draw, one) as figure:
                yield name, figure
