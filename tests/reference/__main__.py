"""Writes the generated reference of docs/: `python -m tests.reference`."""

from __future__ import annotations

from pathlib import Path

from lt_bench.files import write_atomic

from .command_line import command_line_page
from .methods import pages
from .protocol import protocol_page
from .record import record_page
from .rooms import drawing
from .settings import settings_page
from .views import FOLDER, differ, encoded, figures, read, strip

DOCS = Path(__file__).parents[2] / "docs"


def reference() -> dict[str, str]:
    """All generated pages, by their paths below docs/."""
    return {
        **pages(),
        "reference/command-line.md": command_line_page(),
        "reference/settings.md": settings_page(),
        "reference/record.md": record_page(),
        "reference/protocol.md": protocol_page(),
        "reference/rooms.svg": drawing(),
    }


def write(docs: Path) -> None:
    """Write the pages and figures into a folder, and take away those that are no longer made."""
    write_pages(docs)
    made = {docs / name: strip(figure) for name, figure in figures().items()}
    (docs / FOLDER).mkdir(exist_ok=True)
    for old in {*(docs / FOLDER).iterdir()} - made.keys():
        old.unlink()
    for path, pixels in made.items():
        if not path.exists() or differ(read(path), pixels):  # what another processor rounded otherwise stays
            write_atomic(path, encoded(pixels))


def write_pages(docs: Path) -> None:
    """Write the pages into a folder, and take away those that are no longer made."""
    made = reference()
    for old in {docs / name for name in kept(docs)} - {docs / name for name in made}:
        old.unlink()
    for name, text in made.items():
        (docs / name).parent.mkdir(exist_ok=True)
        write_atomic(docs / name, text)


def kept(docs: Path) -> dict[str, str]:
    """The pages that stand in the folders of the reference."""
    found = (path for folder in ("methods", "reference") for path in (docs / folder).glob("*.*"))
    return {path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in found}


if __name__ == "__main__":
    write(DOCS)
