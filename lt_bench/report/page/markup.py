"""HTML of words that anybody may have written: escaped wherever they stand, and of plain ids.

End tags that HTML lets one leave out are left out: a page has ten thousand cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

from lt_bench.command import printable
from lt_bench.record.conditions import digest, shortened

_PLAIN = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Cell(NamedTuple):
    """A cell of a table: what it shows (HTML), and its attributes, such as ``class="best"``."""

    shown: str
    attributes: str


def words(value: object) -> str:
    """A value as text of an element or of an attribute in quotation marks, on one line."""
    return escape(plain(value))


def text(value: object) -> str:
    """As ``words``, and not too long: what is longer ends with a digest."""
    return escape(shortened(plain(value)))


def plain(value: object) -> str:
    """A value on one line, with its control characters written out."""
    return printable(" ".join(str(value).split()))


def block(lines: Iterable[str]) -> str:
    """Lines as they are typed."""
    return f"<pre>{chr(10).join(map(text, lines))}</pre>"


def anchor(kind: str, name: str) -> str:
    """The id of a run, a row or a table in the page: the same for the same name, whatever else the page holds."""
    return f"{kind}-{name if _PLAIN.fullmatch(name) else digest(name)}"


def link(target: str, shown: str) -> str:
    """A link to an id of the page; ``shown`` is HTML."""
    return f'<a href="#{target}">{shown}</a>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str | Cell]], kind: str = "") -> str:
    """A table with headings of its columns, and of its rows in the first cells; all texts are HTML."""
    heads = "".join(f'<th scope="col">{one}' for one in head)
    body = "".join(f'<tr><th scope="row">{first}{"".join(map(_cell, rest))}' for first, *rest in rows)
    named = f' class="{kind}"' if kind else ""
    title = f"<caption>{caption}</caption>" if caption else ""
    return f"<table{named}>{title}<thead><tr>{heads}<tbody>{body}</table>"


def scrolled(content: str, label: str) -> str:
    """What may be wider than a screen, in a frame that a keyboard can reach to scroll it."""
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{label}">{content}</div>'


def figure(picture: str, numbers: str) -> str:
    """A picture, and the table of what it shows."""
    return f"<figure>{picture}<details><summary>Numbers</summary>{scrolled(numbers, 'Numbers')}</details></figure>"


def data(values: Any) -> str:
    """Values as JSON that can stand in a script element: no sign of it ends the element or a line."""
    found = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cell(one: str | Cell) -> str:
    return f"<td {one.attributes}>{one.shown}" if isinstance(one, Cell) else f"<td>{one}"
