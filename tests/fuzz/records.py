"""Records with predictions and verdicts beside them, in collections and contributed, as the report reads them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.record.contributed import KEY, packed
from lt_bench.report.__main__ import main
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, as_json, content, contents, laid, quiet
from tests.fuzz.odd import replaced, texts
from tests.helpers.samples import predictions, sample

PUBLISHED = sorted((Path(__file__).parents[2] / "results" / "records").glob("*.jsonl"))


@cache
def _valid() -> dict[str, bytes]:
    """A run with its predictions, and a collection of records of all schemas."""
    made = predictions(np.eye(6)[[0, 1, 2, 3, 4, 5, 0, 1]], [0, 1, 2, 3, 4, 5, 1, 0], [90, 50, 30, 9, 5, 2])
    with tempfile.TemporaryDirectory() as folder:
        save_predictions(Path(folder, "a.npz"), made)
        arrays = Path(folder, "a.npz").read_bytes()
    record = sample(metrics=evaluate(made)).to_dict()
    lines = [path.read_text(encoding="utf-8").splitlines()[0] for path in PUBLISHED]
    return {
        "runs/0123/record.json": as_json(record),
        "runs/0123/predictions.npz": arrays,
        "runs/0123/verified.json": as_json({"of": {"files": [], "metrics": []}, "contradiction": None}),
        "runs/all.jsonl": "\n".join(lines).encode(),
        "contributed/alice.jsonl": as_json({**record, "run_id": "8901", "seed": 2, KEY: packed(made)}),
    }


@st.composite
def folders(draw: Callable[..., Any]) -> tuple[dict[str, Content], list[str]]:
    """Files of a folder with a few of them changed, records in a collection changed, and options of the report."""
    files: dict[str, Content] = draw(contents(_valid()))
    record = json.loads(_valid()["runs/0123/record.json"])
    twice = draw(st.lists(replaced(record, changes=1), max_size=2))
    lines = [json.loads(line) for line in _valid()["runs/all.jsonl"].splitlines()]
    more = draw(st.lists(st.sampled_from(lines).flatmap(replaced), max_size=2))
    files["runs/more.jsonl"] = b"\n".join(map(as_json, [*twice, *more]))
    files["runs/4567/record.json"] = draw(content(as_json({**record, "run_id": "4567", "seed": 1})))
    files["contributed/bob.jsonl"] = as_json(draw(replaced(json.loads(_valid()["contributed/alice.jsonl"]), changes=2)))
    options = [
        [],
        ["--published"],
        ["--verify"],
        ["--ece"],
        ["--metric", "worst_class", "nll"],
        ["--evaluated-on", "validation"],
    ]
    options += [["--baseline", "SBCL / CB"], ["--export", "all.jsonl"], ["--pages", "README.md"]]
    if draw(st.integers(0, 5)) == 0:
        return files, ["--baseline", draw(texts)]
    return files, draw(st.sampled_from(options))


def read(given: tuple[dict[str, Content], list[str]]) -> None:
    """As ``python -m lt_bench.report`` reads a folder."""
    files, options = given
    readme = b"<!-- table: digits_lt_if20 -->\n<!-- /table -->\n"
    with laid({"README.md": readme, **_valid(), **files}) as folder, quiet():
        typed = [str(folder / word) if word in ("all.jsonl", "README.md") else word for word in options]
        try:
            main(["--runs", str(folder / "runs"), str(folder / "contributed"), *typed])
        except SystemExit as stop:
            assert stop.code == 2  # wrong usage, said by argparse


READERS = {"records": Reader(st.deferred(folders), read, (UsageError,))}
