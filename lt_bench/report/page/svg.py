"""Pictures as SVG: axes with ticks, lines, bands and bars, whose colours the page's style gives by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 34  # pixels around a panel: ticks and labels stand there
TINY, HUGE = 1e-290, 1e300  # no differences are smaller and no values larger than what can be computed with
WIDE = 400  # pixels beyond which a narrow screen shows a picture smaller than it is


class Axis(NamedTuple):
    """The range of an axis, its label, and how its ticks are written."""

    low: float
    high: float
    label: str
    form: Callable[[float], str] = "{:g}".format

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers in the range, 1, 2 or 5 times a power of ten apart."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{step * number:.12g}") for number in range(first, last + 1)]


def spanning(values: Iterable[np.ndarray], label: str, from_zero: bool = False) -> Axis:
    """An axis over all known values; of equal ones around them. Values beyond ``HUGE`` stand at its end."""
    known = np.concatenate([np.asarray(one, dtype=float).ravel() for one in values])
    known = known[np.isfinite(known)].clip(-HUGE, HUGE)
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low = min(low, 0.0) if from_zero else low
    if high - low <= max(1e-12 * max(abs(low), abs(high)), TINY):
        room = abs(high) if abs(high) > TINY else 1.0
        low, high = low - room, high + room
    return Axis(low, high, label)


class Panel(NamedTuple):
    """A rectangle of a picture with two axes; sizes in whole pixels, ``top`` is where it begins."""

    x: Axis
    y: Axis
    width: int = 520
    height: int = 190
    top: int = 0

    def across(self, value: float) -> str:
        """Where a value of the horizontal axis is."""
        share = _within((value - self.x.low) / (self.x.high - self.x.low))
        return f"{LEFT + share * (self.width - LEFT - RIGHT):.0f}"

    def down(self, value: float) -> str:
        """Where a value of the vertical axis is."""
        share = _within((self.y.high - value) / (self.y.high - self.y.low))
        return f"{self.top + TOP + share * (self.height - TOP - BOTTOM):.0f}"

    def line(self, xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray, kind: str) -> str:
        """A line through points, with gaps where one is not known."""
        path, pen = "", "M"
        for x, y in zip(xs, ys, strict=True):
            known = math.isfinite(y)
            path += f"{pen}{self.across(x)} {self.down(y)}" if known else ""
            pen = "L" if known else "M"
        return f'<path class="{kind}" d="{path}"/>' if path else ""

    def band(self, xs: np.ndarray, low: np.ndarray, high: np.ndarray, kind: str) -> str:
        """The area between two lines where both are known."""
        known = np.isfinite(low) & np.isfinite(high)
        if known.sum() < 2:
            return ""
        there, back = zip(xs[known], high[known], strict=True), zip(xs[known][::-1], low[known][::-1], strict=True)
        points = " ".join(f"{self.across(x)},{self.down(y)}" for x, y in (*there, *back))
        return f'<polygon class="{kind}" points="{points}"/>'

    def bars(self, edges: Sequence[float] | np.ndarray, heights: Sequence[float] | np.ndarray, kind: str) -> str:
        """Bars from the bottom between edges, one more than heights; none where a height is not known."""
        bottom, path = self.down(self.y.low), ""
        for left, right, high in zip(edges, edges[1:], heights, strict=False):
            if math.isfinite(high):
                path += f"M{self.across(left)} {bottom}V{self.down(high)}H{self.across(right)}V{bottom}"
        return f'<path class="{kind}" d="{path}"/>'

    def mark(self, x: float, y: float) -> str:
        """A point that stands out."""
        return f'<circle class="mark" cx="{self.across(x)}" cy="{self.down(y)}" r="4"/>'

    def upright(self, x: float) -> str:
        """A dashed line from top to bottom."""
        return f'<path class="border" d="M{self.across(x)} {self.down(self.y.high)}V{self.down(self.y.low)}"/>'

    def words(self, x: float, y: float, shown: str) -> str:
        """Words, which are HTML, in the middle below a point."""
        return f'<text x="{self.across(x)}" y="{self.down(y)}" dy="14">{shown}</text>'

    def axes(self, ticks: bool = True) -> str:
        """Both axes with their ticks and labels; without ``ticks`` the horizontal one has its label alone."""
        left, bottom, end = LEFT, self.down(self.y.low), self.across(self.x.high)
        heights = [(self.down(value), self.y.form(value)) for value in self.y.ticks(self.height // 40)]
        places = [(self.across(value), self.x.form(value)) for value in self.x.ticks(self.width // 70)]
        below = float(bottom) + 14
        written = "".join(f'<text x="{x}" y="{below:g}">{shown}</text>' for x, shown in places if ticks)
        written += f'<text x="{(LEFT + self.width - RIGHT) // 2}" y="{below + 14 * ticks:g}">{self.x.label}</text>'
        high = float(self.down((self.y.low + self.y.high) / 2))
        written += f'<text transform="translate(11 {high:g}) rotate(-90)">{self.y.label}</text>'
        beside = "".join(f'<text x="{LEFT - 5}" y="{y}" dy="4">{shown}</text>' for y, shown in heights)
        grid = "".join(f"M{left} {y}H{end}" for y, _ in heights)
        return (
            f'<path class="grid" d="{grid}"/><path class="axis" d="M{left} {self.down(self.y.high)}V{bottom}H{end}"/>'
            f'<g class="beside">{beside}</g>{written}'
        )


def picture(label: str, panels: Sequence[Panel], parts: Iterable[str]) -> str:
    """The picture of some panels, one below the other, with the ``label`` that is read out for it (HTML)."""
    width, height = max(panel.width for panel in panels), max(panel.top + panel.height for panel in panels)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    wide = ' class="wide"' if width > WIDE else ""
    return f'<svg{wide} role="img" aria-label="{label}" {size}>{"".join(parts)}</svg>'


def _within(share: float) -> float:
    """A share of an axis, of what is beyond its ends that of the end."""
    return min(max(share, 0.0), 1.0)
