"""Run folders as figures are made of them: records, predictions, curves, splits and features that anybody may have."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lt_bench.config.stages import StageName
from lt_bench.errors import UsageError
from lt_bench.figures.__main__ import _make, _parser
from tests.fuzz import records
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, as_json, content, contents, laid, quiet
from tests.fuzz.odd import replaced

KINDS = ("class_accuracy", "confusion", "embedding", "group_bars", "reliability", "training_curves")
EPOCH = {"loss": 0.25, "lr": 0.1, "selection_score": 0.5, "seconds": 1.0, "images_per_second": 3.0}


@cache
def _valid() -> dict[str, bytes]:
    """The files of a run."""
    features = np.random.RandomState(0).randn(8, 4).astype(np.float32)
    stream = io.BytesIO()
    np.savez(stream, features=features, labels=np.array([0, 1, 2, 3, 4, 5, 1, 0]))
    rows = [{"stage": stage.value, "epoch": epoch, **EPOCH} for stage in StageName for epoch in range(2)]
    of_run = {name: found for name, found in records._valid().items() if name.startswith("runs/0123/")}
    return {
        **of_run,
        "runs/0123/metrics.jsonl": b"\n".join(map(as_json, rows)),
        "runs/0123/features.npz": stream.getvalue(),
        "runs/0123/split.json": as_json({"classes": list("abcdef"), "class_counts": [90, 50, 30, 9, 5, 2]}),
    }


@st.composite
def folders(draw: Callable[..., Any]) -> tuple[dict[str, Content], str]:
    """A few of the files changed, rows of the curves, another run of the setting; and the kind of figure."""
    files: dict[str, Content] = draw(contents(_valid()))
    if draw(st.booleans()):
        rows = [json.loads(line) for line in _valid()["runs/0123/metrics.jsonl"].splitlines()]
        files["runs/0123/metrics.jsonl"] = b"\n".join(as_json(draw(replaced(row))) for row in rows)
    record = json.loads(_valid()["runs/0123/record.json"])
    if draw(st.booleans()):
        files["runs/4567/record.json"] = draw(content(as_json({**record, "run_id": "4567", "seed": 1})))
    return files, draw(st.sampled_from(KINDS))


def read(given: tuple[dict[str, Content], str]) -> None:
    """As ``python -m lt_bench.figures`` makes figures of a folder."""
    files, kind = given
    with laid({**_valid(), **files}) as folder, quiet():
        _make(_parser().parse_args([str(folder / "runs"), "--format", "svg", "--kind", kind]))


READERS = {"figures": Reader(st.deferred(folders), read, (UsageError,))}
