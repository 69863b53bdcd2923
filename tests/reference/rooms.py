"""The drawing of the rooms, from the table of CONTRIBUTING.md: each row stands on those that it may import from."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from textwrap import wrap

TABLE = Path(__file__).parents[2] / "CONTRIBUTING.md"
WIDTH, LEFT, LINE, PADDING = 900, 300, 18, 14  # pixels; LEFT is where the words begin
COLUMNS = 78  # signs of a line of words
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #222 }
.room { font: 600 13px ui-monospace, monospace }
rect { fill: #eef1f8; stroke: #9aa5c4 }
path { stroke: #5b6aa0; fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } rect { fill: #2b3040; stroke: #5b6aa0 } }"""


def rows() -> list[tuple[list[str], str]]:
    """The rooms of each row of the table, and what is in them, from the top."""
    text = TABLE.read_text(encoding="utf-8").partition("| room | what is in it |")[2].partition("\n\n")[0]
    found = re.findall(r"^\| (`.+?) \| (.+) \|$", text, re.MULTILINE)
    return [(re.findall(r"`(\w+)`", rooms), told.replace("`", "")) for rooms, told in found]


def drawing() -> str:
    """The drawing as SVG, which follows the reader's light or dark scheme."""
    parts, top = list[str](), PADDING
    for rooms, told in rows():
        names, words = wrap(" · ".join(rooms), 30), wrap(told, COLUMNS)
        height = LINE * max(len(names), len(words)) + PADDING
        parts.append(f'<rect x="40" y="{top}" width="{WIDTH - 50}" height="{height}" rx="6"/>')
        for x, kind, lines in ((54, ' class="room"', names), (LEFT, "", words)):
            for number, line in enumerate(lines):
                y = top + LINE * (number + 1) + 2
                parts.append(f'<text x="{x}" y="{y}"{kind}>{escape(line)}</text>')
        top += height + 6
    arrow = f'<path d="M20 {PADDING}V{top - 12}M12 {top - 24}L20 {top - 12}L28 {top - 24}"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 4}" role="img">'
    title = "<title>Rooms of the package, each of which imports only from those below it</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *parts, arrow, "</svg>"]) + "\n"
