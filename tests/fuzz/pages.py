"""Run folders and collections of records as the page of results is made of them: closed elements, and none of words."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lt_bench.errors import UsageError
from lt_bench.report.__main__ import main
from tests.fuzz import figures, records
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, as_json, laid, quiet
from tests.fuzz.odd import replaced
from tests.helpers.seen import Seen


@cache
def _valid() -> dict[str, bytes]:
    """The files of a run with its curves, and a collection."""
    return {**records._valid(), **figures._valid()}


@st.composite
def folders(draw: Callable[..., Any]) -> dict[str, Content]:
    """Files of run folders changed, and lines of a collection."""
    files, _ = draw(figures.folders())
    lines = [json.loads(line) for line in _valid()["runs/all.jsonl"].splitlines()]
    more = draw(st.lists(st.sampled_from(lines).flatmap(replaced), max_size=3))
    return {**files, "runs/more.jsonl": b"\n".join(map(as_json, more))}


def read(files: dict[str, Content]) -> None:
    """As ``python -m lt_bench.report page`` makes a page of a folder."""
    with laid({**_valid(), **files}) as folder, quiet():
        if main(["page", "--runs", str(folder / "runs"), "--out", str(folder / "page.html")]) == 0:
            seen = Seen(Path(folder, "page.html").read_text(encoding="utf-8"))
            assert (seen.wrong, seen.unclosed, len(seen.all("script"))) == ([], [], 2)
            json.loads(seen.scripts[0])


READERS = {"page": Reader(st.deferred(folders), read, (UsageError,))}
