"""Pictures as SVG: axes with ticks, lines, bands and bars, whose colours the page's style gives by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 34  # pixels around a panel: ticks and labels stand there


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
        return [step * number for number in range(first, last + 1)]


def spanning(values: Iterable[np.ndarray], label: str, from_zero: bool = False) -> Axis:
    """An axis over all known values; of equal ones around them."""
    known = np.concatenate([np.asarray(one, dtype=float).ravel() for one in values])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    low = min(low, 0.0) if from_zero else low
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        room = abs(high) or 1.0
        low, high = low - room, high + room
    return Axis(low, high, label)


class Panel(NamedTuple):
    """A rectangle of a picture with two axes; sizes in pixels, ``top`` is where it begins."""

    x: Axis
    y: Axis
    width: int = 520
    height: int = 190
    top: int = 0

    def across(self, value: float) -> str:
        """Where a value of the horizontal axis is."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return _short(LEFT + share * (self.width - LEFT - RIGHT))

    def down(self, value: float) -> str:
        """Where a value of the vertical axis is."""
        share = (self.y.high - value) / (self.y.high - self.y.low)
        return _short(self.top + TOP + share * (self.height - TOP - BOTTOM))

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

    def bar(self, left: float, right: float, low: float, high: float, kind: str) -> str:
        """A rectangle between values of both axes."""
        x, y = float(self.across(left)), float(self.down(high))
        size = f'width="{_short(float(self.across(right)) - x)}" height="{_short(float(self.down(low)) - y)}"'
        return f'<rect class="{kind}" x="{_short(x)}" y="{_short(y)}" {size}/>'

    def mark(self, x: float, y: float) -> str:
        """A point that stands out."""
        return f'<circle class="mark" cx="{self.across(x)}" cy="{self.down(y)}" r="4"/>'

    def upright(self, x: float) -> str:
        """A dashed line from top to bottom."""
        return f'<path class="border" d="M{self.across(x)} {self.down(self.y.high)}V{self.down(self.y.low)}"/>'

    def words(self, x: float, y: float, shown: str) -> str:
        """Words, which are HTML, in the middle below a point."""
        return f'<text x="{self.across(x)}" y="{self.down(y)}" dy="14" text-anchor="middle">{shown}</text>'

    def axes(self, ticks: bool = True) -> str:
        """Both axes with their ticks and labels; without ``ticks`` the horizontal one has its label alone."""
        left, bottom = _short(LEFT), self.down(self.y.low)
        parts = [f'<path class="axis" d="M{left} {self.down(self.y.high)}V{bottom}H{self.across(self.x.high)}"/>']
        for value in self.y.ticks(4 if self.height > 120 else 2):
            y, shown = self.down(value), self.y.form(round(value, 12))
            parts.append(f'<text x="{LEFT - 5}" y="{y}" dy="4" text-anchor="end">{shown}</text>')
            parts.append(f'<path class="grid" d="M{left} {y}H{self.across(self.x.high)}"/>')
        for value in self.x.ticks(6 if self.width > 300 else 4) if ticks else ():
            x, shown = self.across(value), self.x.form(round(value, 12))
            parts.append(f'<text x="{x}" y="{float(bottom) + 14:g}" text-anchor="middle">{shown}</text>')
        middle = (LEFT + self.width - RIGHT) // 2
        if self.x.label:
            at = f'x="{middle}" y="{float(bottom) + (28 if ticks else 16):g}"'
            parts.append(f'<text {at} text-anchor="middle">{self.x.label}</text>')
        high = float(self.down((self.y.low + self.y.high) / 2))
        turned = f'transform="translate(11 {high:g}) rotate(-90)"'
        parts.append(f'<text {turned} text-anchor="middle">{self.y.label}</text>')
        return "".join(parts)


def picture(label: str, panels: Sequence[Panel], parts: Iterable[str]) -> str:
    """The picture of some panels, one below the other, with the ``label`` that is read out for it (HTML)."""
    width, height = max(panel.width for panel in panels), max(panel.top + panel.height for panel in panels)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg role="img" aria-label="{label}" {size}>{"".join(parts)}</svg>'


def _short(value: float) -> str:
    """A length to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
