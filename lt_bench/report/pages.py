"""Tables inside a page: what stands between two markers is replaced by the fresh table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lt_bench.errors import UsageError
from lt_bench.files import write_atomic

OPEN, CLOSE = "<!-- table: NAME -->", "<!-- /table -->"
MARKED = re.compile(r"<!-- table: (\S+) -->(.*?)(?:<!-- /table -->|\Z)", re.DOTALL)


def fill(text: str, tables: Mapping[str, str]) -> str:
    """The page with fresh tables (name -> Markdown) between ``<!-- table: NAME -->`` and ``<!-- /table -->``.

    Raises UsageError if there is no marker, one is not closed, or a name is unknown.
    """

    def fresh(match: re.Match[str]) -> str:
        name, old = match.groups()
        if "<!-- table:" in old or not match.group().endswith(CLOSE):
            raise UsageError(f"the marker of table {name} is not closed: put {CLOSE} after it")
        if name not in tables:
            raise UsageError(f"unknown table {name!r}: expected one of {', '.join(sorted(tables))}")
        return f"{OPEN.replace('NAME', name)}\n\n{tables[name]}\n{CLOSE}"

    result, found = MARKED.subn(fresh, text)
    if not found:
        raise UsageError(f"no table marker found: write {OPEN} and {CLOSE} where a table should stand")
    return result


def names_in(path: Path) -> set[str]:
    """The names of the tables that a page has markers for; none for a page that is no text."""
    try:
        return {name for name, _ in MARKED.findall(path.read_text(encoding="utf-8"))}
    except UnicodeDecodeError:
        return set()


def update(path: Path, tables: Mapping[str, str]) -> None:
    """Fill a page in place; UsageError naming the page, which is then left as it was."""
    try:
        write_atomic(path, fill(path.read_text(encoding="utf-8"), tables))
    except (UnicodeDecodeError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from None
