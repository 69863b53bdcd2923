"""Markdown from the text of docstrings, settings and files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lt_bench.report.escape import inline

ADDRESS = re.compile(r"https?://[^\s<>)]*[^\s<>).,;:]")


def prose(text: str) -> str:
    """A docstring as Markdown: what it quotes twice is code, all else stands as it is written.

    Shapes, sources and errors, which begin lines of their own there, begin paragraphs.
    """
    parts = re.split(r"``(.+?)``", re.sub(r"(?<!\n)\n(?=(?:Shapes|Source|Raises)\b)", "\n\n", text))
    return "".join(code(part) if number % 2 else linked(part) for number, part in enumerate(parts))


def linked(text: str) -> str:
    """A text inside a line, whose addresses are links."""
    return ADDRESS.sub(r"<\g<0>>", inline(text))


def code(text: str) -> str:
    """A text as code in a line."""
    return f"`{text}`" if text else ""


def block(text: str, language: str = "") -> str:
    """A text as it stands, in a box."""
    return f"```{language}\n{text.strip()}\n```"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells in Markdown; a bar in a cell, code too, is no border."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([re.sub(r"(?<!\\)\|", r"\\|", " ".join(cell.split())) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def page(*parts: str) -> str:
    """A whole page of paragraphs, tables and boxes; those that are empty are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
