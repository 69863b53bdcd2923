"""Words of records in tables: a title is text, and no Markdown, no HTML and no formula of a spreadsheet."""

from __future__ import annotations

import re

from lt_bench.command import printable

_MARKDOWN = re.compile(r"[\\`*<>|~]|\](?=[(\[])|&(?=#?\w+;)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(text: str) -> str:
    """A text as GitHub Markdown shows it, on one line; brackets and underscores, which do nothing alone, stay."""
    return _MARKDOWN.sub(lambda found: _escaped(found[0]), printable(" ".join(text.split())))


def csv_cell(value: object) -> object:
    """A value for CSV: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)


def _escaped(sign: str) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, f"\\{sign}")
