"""Records that others contribute: what of their predictions travels with them, and how they are checked by it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lt_bench.evaluation.metrics import METRICS, evaluate
from lt_bench.evaluation.predictions import BY_IMAGE, CONFUSION, Predictions, arrays_of, from_arrays
from lt_bench.files import SMALL
from lt_bench.record.record import CONTRIBUTED, RunRecord
from lt_bench.record.verify import disagreement

KEY = "predictions"  # of an exported line, beside those of the record
FOLDER = "contributed"  # files in folders of this name are other people's
IN_FULL, COUNTS, NOTHING = "all predictions", "counts of predictions", "nothing"  # what a record is checked by
MOST_LOGITS = 2**15  # bytes of the logits of a run that travel in full; of more, counts per pair of classes
MOST_CLASSES = 2**11  # of more, a digest alone
KINDS = ("<f4", "<i4", "<i8")


def packed(predictions: Predictions) -> dict[str, Any]:
    """A digest of predictions as plain values and, where they are small enough, these or their counts.

    Counts are the images per true and predicted class, from which every metric without logits can be computed; those of
    pixels are of all images together, as if these were one.
    """
    arrays, own = arrays_of(predictions), {"sha256": _digest(predictions)}
    size = sum(array.nbytes for array in arrays.values() if array.dtype.kind == "f")
    if predictions.confusion is None and size <= MOST_LOGITS:
        return own | {"group_rule": predictions.group_rule, "arrays": _encoded(arrays)}
    if len(predictions.train_counts) > MOST_CLASSES:
        return own
    cells = np.argwhere(predictions.cells)
    counted = np.column_stack([cells, predictions.cells[tuple(cells.T)]])
    name, counted = (
        (CONFUSION, counted) if predictions.by_image is None else (BY_IMAGE, np.insert(counted, 0, 0, axis=1))
    )
    counts = {"train_counts": predictions.train_counts, name: counted}
    return own | {"group_rule": predictions.group_rule, "arrays": _encoded(counts)}


def refusal(record: RunRecord, found: Any, contributed: bool) -> str:
    """Why a record with what was ``packed`` beside it is not believed; empty where nothing is known against it.

    A ``contributed`` one must have its digest and its device.
    """
    if found is None:
        return "it has no digest of its predictions; export it from the folders of its runs" if contributed else ""
    try:
        predictions = _unpacked(found)
    except ValueError as error:
        return f"its predictions cannot be read: {error}"
    if contributed and not record.cost.get("device"):
        return "it does not name the device that it ran on"
    if predictions is None:
        return ""
    if predictions.confusion is None and _digest(predictions) != found["sha256"]:
        return "its predictions are not those of their digest"
    wrong = disagreement(record, predictions)
    return f"it contradicts its predictions: {wrong}" if wrong else ""


def marked(record: RunRecord, found: Any, source: Path) -> RunRecord:
    """A record that says by whom it was contributed, which is the name of its file, and by what it was checked."""
    arrays = found.get("arrays") if isinstance(found, Mapping) else None
    arrays = arrays if isinstance(arrays, Mapping) else {}  # what else stands there is refused when it is compared
    checked = COUNTS if {CONFUSION, BY_IMAGE} & {*arrays} else IN_FULL if arrays else NOTHING
    said = {"by": source.name.partition(".jsonl")[0], "checked": checked}
    return replace(record, environment={**record.environment, CONTRIBUTED: said})


def is_contributed(source: str | Path) -> bool:
    """Whether a file of records is in a folder of contributions."""
    return os.path.basename(os.path.dirname(source) or os.getcwd()) == FOLDER


def unchecked(record: RunRecord) -> list[str]:
    """The metrics of a contributed record that what travelled with it cannot tell."""
    checked = record.environment.get(CONTRIBUTED, {}).get("checked")
    known = [name for name in record.metrics if name in METRICS]
    return known if checked == NOTHING else [name for name in known if checked == COUNTS and METRICS[name].needs]


def _digest(predictions: Predictions) -> str:
    """SHA-256 of everything that metrics are computed from, whatever file it is in."""
    found = hashlib.sha256(predictions.group_rule.encode())
    for name, array in sorted(arrays_of(predictions).items()):
        if array.dtype.kind in "iuf":
            plain = np.ascontiguousarray(array.astype(_kind(array)))
            found.update(f"\n{name} {plain.dtype.str} {plain.shape}\n".encode())
            found.update(plain.tobytes())
    return found.hexdigest()


def _kind(array: np.ndarray) -> str:
    return "<f4" if array.dtype.kind == "f" else "<i8"


def _encoded(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Numeric arrays as shape and text: whole numbers in 32 bits where they fit."""
    found = {}
    for name, array in arrays.items():
        if array.dtype.kind in "iuf":
            small = array.dtype.kind != "f" and array.size and int(np.abs(array).max()) < 2**31
            plain = np.ascontiguousarray(array.astype("<i4" if small else _kind(array)))
            text = base64.b64encode(zlib.compress(plain.tobytes(), 9)).decode("ascii")
            found[name] = {"kind": plain.dtype.str, "shape": list(plain.shape), "zlib": text}
    return found


def _unpacked(found: Any) -> Predictions | None:
    """What was ``packed``, counts as a matrix; None for a digest alone. ValueError for anything else."""
    if not isinstance(found, Mapping) or not isinstance(found.get("sha256"), str):
        raise ValueError("there is no digest sha256")
    if "arrays" not in found:
        return None
    encoded, rule = found["arrays"], found.get("group_rule")
    if not isinstance(encoded, Mapping) or not isinstance(rule, str):
        raise ValueError("arrays and group_rule stand together")
    arrays = {str(name): _decoded(str(name), one) for name, one in encoded.items()}
    if CONFUSION in arrays:
        arrays[CONFUSION] = _matrix(arrays[CONFUSION], len(arrays.get("train_counts", ())))
    elif BY_IMAGE in arrays:
        rows = arrays[BY_IMAGE]
        _matrix(rows[:, 1:] if rows.ndim == 2 else rows, len(arrays.get("train_counts", ())))
    predictions = from_arrays({**arrays, "group_rule": np.array(rule)})
    evaluate(predictions, {"many"})  # the rule, and the counts, are some
    return predictions


def _decoded(name: str, found: Any) -> np.ndarray:
    if not isinstance(found, Mapping) or found.get("kind") not in KINDS or not isinstance(found.get("zlib"), str):
        raise ValueError(f"{name} is no array")
    kind, shape = np.dtype(found["kind"]), found.get("shape")
    if not isinstance(shape, list) or not all(type(one) is int and 0 <= one <= SMALL for one in shape):
        raise ValueError(f"{name} has no shape")
    size = math.prod(shape) * kind.itemsize
    if size > SMALL:
        raise ValueError(f"{name} is too large")
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(found["zlib"], validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"{name} is damaged ({error})") from error
    if len(content) != size:
        raise ValueError(f"{name} is not of its shape")
    return np.frombuffer(content, dtype=kind).reshape(shape)


def _matrix(cells: np.ndarray, classes: int) -> np.ndarray:
    """Counts (C, C) from lines (true class, predicted class, count); ValueError for what is no such line."""
    if cells.ndim != 2 or cells.shape[1] != 3 or cells.dtype.kind != "i" or not 0 < classes <= MOST_CLASSES:
        raise ValueError(f"{CONFUSION} is no list of counts")
    rows, columns, counts = cells.T
    if len(cells) == 0 or cells[:, :2].max() >= classes or cells.min() < 0 or counts.min() < 1:
        raise ValueError(f"{CONFUSION} has classes or counts that there are not")
    matrix = np.zeros((classes, classes), dtype=np.int64)
    matrix[rows, columns] = counts
    return matrix
