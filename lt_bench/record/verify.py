"""Whether records say what their predictions say; the verdict on unchanged files is kept beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from inspect import unwrap
from pathlib import Path
from typing import Any

from lt_bench.config.stages import StageName
from lt_bench.data.files.digests import is_settled, stamp_of
from lt_bench.evaluation.metrics import METRICS, evaluate
from lt_bench.evaluation.predictions import Predictions, load_predictions
from lt_bench.files import read_json, write_json
from lt_bench.record.record import PREDICTIONS, RECORD, RunRecord

VERDICT = "verified.json"
TOLERANCE = 1e-6  # relative: another version of NumPy may sum in another order


def contradiction(record: RunRecord, folder: Path, anew: bool = False, name: str = RECORD) -> str | None:
    """What the record in a file of this name and the predictions beside it disagree in; None where they agree.

    The metrics are computed once, unless ``anew``, for files of the same size, times and inode, which no change of
    content leaves as they are; the code of the metrics is among them. Raises OSError and ValueError where the
    predictions cannot be read.
    """
    names = sorted(set(record.metrics) & set(METRICS))
    stamps = [stamp_of(str(file)) for file in (folder / name, folder / PREDICTIONS, *_code(names))]
    stamp = {"files": stamps, "metrics": names, "lt_bench": version("lt_bench")}
    if not anew and (kept := _kept(folder)).get("of") == stamp:
        verdict: str | None = kept.get("contradiction")
        return verdict
    verdict = _compare(record, folder)
    if all(map(is_settled, stamps)):
        with suppress(OSError):  # a folder of somebody else's is verified each time
            write_json(folder / VERDICT, {"of": stamp, "contradiction": verdict})
    return verdict


def doubt(record: RunRecord, folder: Path) -> str:
    """Why the numbers of a run's record may be others than those of its predictions; empty where they are not."""
    if record.kind != StageName.TWO.kind:
        return ""
    if not (folder / PREDICTIONS).exists():
        return f"{PREDICTIONS} is not there"
    try:
        wrong = contradiction(record, folder)
    except (OSError, ValueError) as error:
        return f"not compared with its predictions: {error}"
    return f"contradicts its predictions: {wrong}" if wrong else ""


def _compare(record: RunRecord, folder: Path) -> str | None:
    return disagreement(record, load_predictions(folder / PREDICTIONS))


def disagreement(record: RunRecord, predictions: Predictions) -> str | None:
    """The first metric, or the rule of groups, that a record has other than its predictions say; None for none.

    Metrics of a record that cannot be known from the predictions are not compared.
    """
    if predictions.group_rule != record.group_rule:
        return f"group_rule is {record.group_rule}, the predictions' is {predictions.group_rule}"
    computed = evaluate(predictions, set(record.metrics) & set(METRICS))
    for name, value in computed.items():
        if not _equal(record.metrics[name], value):
            return f"{name} is {_short(record.metrics[name])}, from the predictions it is {_short(value)}"
    return None


def _equal(recorded: Any, computed: Any) -> bool:
    if isinstance(computed, list):
        return isinstance(recorded, list) and len(recorded) == len(computed) and all(map(_equal, recorded, computed))
    if recorded is None or computed is None:
        return recorded is computed
    return math.isclose(recorded, computed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _code(names: Collection[str]) -> list[Path]:
    """The files of some metrics' functions, which may be a user's own."""
    codes = [getattr(unwrap(METRICS[name].function), "__code__", None) for name in names]
    return [file for file in map(Path, sorted({code.co_filename for code in codes if code})) if file.exists()]


def _kept(folder: Path) -> dict[str, Any]:
    """The verdict beside a record; {} where there is none that can be read."""
    return read_json(folder / VERDICT)
