"""Words of records in tables and in names of files: text of a bounded length, and no Markdown or HTML."""

from __future__ import annotations

import re
import unicodedata

from lt_bench.command import printable

_MARKDOWN = re.compile(r"[\\`*<>|~$]|(?<!\w)_|_(?!\w)|\](?=[(\[])|&(?=#?\w+;)")
_START = re.compile(r"^(\d*)(#{1,6}(?:\s|$)|[-+](?:\s|$)|[.)]\s|[-=]+$)")  # of a heading, a list, a line
# signs that LaTeX acts on, and those beyond Latin letters that the fonts of any installation have
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
    | {
        "±": r"$\pm$",
        "×": r"$\times$",
        "τ": r"$\tau$",
        "†": r"\dag{}",
        "‡": r"\ddag{}",
        "−": "$-$",
        "’": "'",
        "…": r"\dots{}",
    }
    | {"`": r"\textasciigrave{}", "[": "{[}", "]": "{]}"}
)
_LATIN = 0x17F  # the last of the letters that a Latin font has


def folded(name: str) -> str:
    """A file's name as the file systems see it that take large letters for small ones."""
    return unicodedata.normalize("NFC", name).casefold()


def markdown(text: str) -> str:
    """A text as GitHub Markdown shows it, on one line; brackets and underscores, which do nothing alone, stay."""
    line = inline(printable(" ".join(text.split())))
    return _START.sub(lambda found: f"{found[1]}\\{found[2]}", line)


def inline(text: str) -> str:
    """A text inside a line of Markdown, as it stands: signs that would mean something there are escaped."""
    return _MARKDOWN.sub(lambda found: _escaped(found[0]), text)


def latex(text: str) -> str:
    """A text as LaTeX prints it, on one line; a sign that Latin fonts lack stands as its number, such as [U+4E2D]."""
    shown = printable(" ".join(text.split())).translate(_LATEX)
    shown = shown.replace("--", "-{}-").replace("''", "'{}'").replace("–", "--")
    return "".join(sign if ord(sign) <= _LATIN else f"{{[}}U+{ord(sign):04X}{{]}}" for sign in shown)


def _escaped(sign: str) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, f"\\{sign}")
