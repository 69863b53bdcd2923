"""A hook of the site: equations become MathML, which browsers draw without scripts or anything from elsewhere."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# what pymdownx.arithmatex makes of $$...$$ and $...$
LATEX = re.compile(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The HTML of a page with MathML in place of LaTeX."""
    return LATEX.sub(_drawn, content)


def _drawn(found: re.Match[str]) -> str:
    kind, latex = found[1], html.unescape(found[2]).strip()
    math = convert(latex, display="block" if kind == "div" else "inline")
    return f'<{kind} class="arithmatex">{math}</{kind}>'
