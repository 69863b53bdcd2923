"""How all figures look, and how one becomes files: the same bytes for the same data, also on a machine with a style."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lt_bench.files import write_atomic

if TYPE_CHECKING:  # a second of start-up: imported where a figure is made
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
WIDTH = 7.2  # inches: two columns of a paper
SHOWN = 48  # characters of a name
# Okabe and Ito (2008) less their yellow, which cannot be read on white: told apart with any colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#767676")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "|||")
GREY, PALE = "#767676", "#DDDDDD"
FALLBACKS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Droid Sans Fallback")  # used where installed
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.6,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.hashsalt": "lt_bench",
    "svg.fonttype": "path",
}


class Look(NamedTuple):
    """What tells one method from the others, with and without colour."""

    colour: str
    line: Any
    marker: str
    hatch: str


def looks(count: int) -> list[Look]:
    """The looks of so many methods, in their order; each part repeats after a number of its own."""
    return list(islice(map(Look, cycle(COLOURS), cycle(LINES), cycle(MARKERS), cycle(HATCHES)), count))


def words(text: str, most: int = SHOWN) -> str:
    """A name from a record or a data set as one line of a figure: no control characters, not too long."""
    line = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in " ".join(str(text).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def heading(figure: Figure, *texts: str) -> None:
    """What a figure shows and of which runs, above its panels, in lines that fit."""
    width = round(14.4 * figure.get_figwidth())  # characters of this size
    lines = [line for text in texts for line in textwrap.wrap(text, width)]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9)


def percent(axis: Any) -> None:
    """Let an axis of fractions show percent."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))


def counts_axis(axes: Axes) -> None:
    """A logarithmic vertical axis of numbers of images, written out."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("training\nimages")


def wrapped(label: str, width: int) -> str:
    """A label in at most two lines."""
    return "\n".join(textwrap.wrap(label, width, max_lines=2, placeholder=" …"))


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend under the panels, where it hides no data; nothing where there is nothing to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = 2 if max(map(len, labels)) > 26 else 4
        shown = [wrapped(label, 46) for label in labels]
        figure.legend(handles, shown, loc="outside lower center", ncols=min(columns, len(handles)))


def render(draw: Callable[[Figure, Any], None], data: Any, stem: Path, formats: Collection[str]) -> list[Path]:
    """Draw data on a figure of its own and write it as ``stem``.FORMAT; the paths."""
    paths = []
    with drawn(draw, data) as figure:
        for kind in formats:
            buffer = io.BytesIO()
            nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
            figure.savefig(buffer, format=kind, metadata=nothing)
            paths.append(stem.with_name(f"{stem.name}.{kind}"))
            write_atomic(paths[-1], buffer.getvalue())
    return paths


@contextmanager
def drawn(draw: Callable[[Figure, Any], None], data: Any) -> Iterator[Figure]:
    """A figure of its own with data drawn on it, to be written inside the block.

    No global state of matplotlib is read or left: neither its pyplot nor a style of the machine.
    """
    from matplotlib import font_manager, style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fonts = {"font.sans-serif": ["DejaVu Sans", *sorted(set(FALLBACKS) & set(font_manager.get_font_names()))]}
    with style.context({**STYLE, **fonts}, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands for a sign that no font has
        figure = Figure(figsize=(WIDTH, 4), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, data)
        yield figure
        figure.clear()
