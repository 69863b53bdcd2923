"""Words of records in tables: a title is text, and no Markdown, no HTML and no formula of a spreadsheet."""

from __future__ import annotations

import re

from lt_bench.command import printable

_MARKDOWN = re.compile(r"[\\`*<>|~]|\](?=[(\[])|&(?=#?\w+;)")
# signs that LaTeX acts on, and those beyond Latin letters that the fonts of any installation have
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
    | {"±": r"$\pm$", "×": r"$\times$", "τ": r"$\tau$", "†": r"\dag{}", "−": "$-$", "’": "'", "…": r"\dots{}"}
    | {"`": r"\textasciigrave{}", "[": "{[}", "]": "{]}"}
)
_LATIN = 0x17F  # the last of the letters that a Latin font has
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(text: str) -> str:
    """A text as GitHub Markdown shows it, on one line; brackets and underscores, which do nothing alone, stay."""
    return _MARKDOWN.sub(lambda found: _escaped(found[0]), printable(" ".join(text.split())))


def latex(text: str) -> str:
    """A text as LaTeX prints it, on one line; a sign that Latin fonts lack stands as its number, such as [U+4E2D]."""
    shown = printable(" ".join(text.split())).translate(_LATEX)
    shown = shown.replace("--", "-{}-").replace("''", "'{}'").replace("–", "--")
    return "".join(sign if ord(sign) <= _LATIN else f"{{[}}U+{ord(sign):04X}{{]}}" for sign in shown)


def csv_cell(value: object) -> object:
    """A value for CSV: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)


def _escaped(sign: str) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, f"\\{sign}")
