"""Records of many runs, read from folders and files, each run once."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.command import printable
from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import evaluate, recorded
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.files import read_bytes
from lt_bench.record.contributed import KEY, is_contributed, marked, refusal
from lt_bench.record.curves import CURVES
from lt_bench.record.kept import Kept
from lt_bench.record.metrics import check_metrics
from lt_bench.record.record import CONTRIBUTED, PREDICTIONS, RECORD, RunRecord, plain_values, unknown_keys
from lt_bench.record.verify import contradiction

LONGEST = 400  # characters of what is said of one record
log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A run's record, the first place it was found in, and the folder of its predictions, if they are there.

    ``packed`` is what of its predictions travelled with a record of a .jsonl file.
    """

    record: RunRecord
    source: str
    folder: Path | None
    packed: Any = None


def read_records(
    paths: Iterable[str | Path],
    metrics: Collection[str] | None = None,
    check: bool = True,
    anew: bool = False,
    unchecked: list[str] | None = None,
) -> list[RunRecord]:
    """All records under some paths, each run once, sorted by run id.

    A folder gives every ``record.json`` at any depth and the ``*.jsonl`` files right in it (one record a line; a run's
    ``metrics.jsonl`` is left out); a file is read as one or the other.  What is no valid record is skipped with one
    line of warning; so are, with ``check``, one that contradicts its predictions, and one in a folder of contributions
    that has none. Those beside a record are read once for unchanged files unless ``anew``, those in its line always;
    files that have no predictions beside them are added to ``unchecked``. Keys that mean nothing here are ignored, with
    one line for all.  ``metrics``, where None: those of new records, are computed from the predictions beside a record
    that does not have them yet.
    Raises FileNotFoundError for a path that is not there, and UsageError naming both sources where two records of one
    run differ in more than cost, environment and which metrics they have.
    """
    return [found.record for found in read_found(paths, metrics, check, anew, unchecked)]


def read_found(
    paths: Iterable[str | Path],
    metrics: Collection[str] | None = None,
    check: bool = True,
    anew: bool = False,
    unchecked: list[str] | None = None,
) -> list[Found]:
    """As ``read_records``, with the places that the records were found in."""
    found: dict[str, Found] = {}
    ignored: Counter[str] = Counter()
    given = [*map(Path, paths)]
    for source, folder, values in _all_values(given, anew):
        try:
            record = RunRecord.from_dict(values, source)
        except ValueError as error:
            log.warning("skipped %s", _one_line(error))
            continue
        ignored.update(unknown_keys(values) - {KEY})
        read = _of_others(Found(record, source, folder, values.get(KEY)))
        if unchecked is not None and folder is None and record.kind == "run" and source.endswith(RECORD):
            unchecked.append(source)
        new = _compared(read, anew) if check else read
        if new is None:
            continue
        found[record.run_id] = _merged(found[record.run_id], new) if record.run_id in found else new
    if ignored:
        counted = ", ".join(f"{key!r} ({count})" for key, count in sorted(ignored.items()))
        log.warning("ignored keys of records that this version does not know: %s", printable(counted))
    wanted = recorded() if metrics is None else metrics
    return [found[run_id]._replace(record=_filled(found[run_id], wanted)) for run_id in sorted(found)]


def _compared(found: Found, anew: bool) -> Found | None:
    """A record that nothing is known against, without a folder where that cannot be known; None for one that is wrong.

    Says what is wrong.
    """
    record, folder = found.record, found.folder
    if record.kind != "run":
        return found
    if folder is None:
        if said := refusal(record, found.packed, is_contributed(found.source)):
            log.warning("skipped %s: %s", printable(found.source), printable(said))
        return None if said else found
    try:
        wrong = contradiction(record, folder, anew, os.path.basename(found.source))
    except (OSError, ValueError) as error:
        log.warning("run %s is not compared with its predictions: %s", printable(record.run_id), _one_line(error))
        return found._replace(folder=None)
    if wrong:
        log.warning("skipped %s: it contradicts its predictions: %s", printable(found.source), printable(wrong))
    return None if wrong else found


def _of_others(found: Found) -> Found:
    """A record of a folder of contributions as one that says so."""
    if not is_contributed(found.source):
        return found
    return found._replace(record=marked(found.record, found.packed, Path(found.source)))


def _merged(first: Found, second: Found) -> Found:
    """Two records of one run as one, with the metrics of both; UsageError where they contradict each other.

    One of somebody else's is left for one's own.
    """
    if CONTRIBUTED in first.record.environment and CONTRIBUTED not in second.record.environment:
        first, second = second, first
    one, other = first.record, second.record
    metrics = {**other.metrics, **one.metrics}
    if metrics != {**metrics, **other.metrics} or replace(one, metrics={}) != replace(other, metrics={}):
        sources = f"{first.source} and in {second.source}"
        raise UsageError(f"run {one.run_id} has two different records, in {sources}: remove one")
    packed = first.packed or second.packed
    return Found(replace(one, metrics=metrics), first.source, first.folder or second.folder, packed)


def _filled(found: Found, names: Collection[str]) -> RunRecord:
    """The record with those of some metrics that it lacks, where its predictions are there."""
    record, lacking = found.record, set(names) - found.record.metrics.keys()
    if record.kind != "run" or found.folder is None or not lacking:
        return record
    try:
        predictions = load_predictions(found.folder / PREDICTIONS)
    except (OSError, ValueError) as error:
        log.warning("metrics of run %s are not known: %s", printable(record.run_id), _one_line(error))
        return record
    more: dict[str, Any] = {}
    for name in sorted(lacking):
        try:
            value = evaluate(predictions, {name})
            check_metrics(value)
        except Exception as error:  # a defect of the metric, which is to be seen and not to cost other metrics
            raise RuntimeError(f"metric {name!r} of run {record.run_id} cannot be computed: {error}") from error
        more |= value
    return replace(record, metrics={**record.metrics, **more})


def _files(path: Path) -> list[Path]:
    """The files under a path that should hold records."""
    if path.is_dir():
        return [*_records(path), *(file for file in path.glob("*.jsonl") if file.name != CURVES)]
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    return [path]


def _records(path: Path) -> Iterator[Path]:
    """Every ``record.json`` in a folder and below, also behind links, which ``rglob`` leaves out; no folder twice.

    A link to a folder that holds this one, such as to ``/``, is not followed, with a line: what is meant is here.
    """
    seen: set[tuple[int, int]] = set()
    above = {_inode(folder) for folder in path.resolve().parents}
    for place, folders, files in os.walk(path, followlinks=True):
        found = _inode(place)
        if found in above:
            log.warning("not followed: %s leads to a folder that holds %s", printable(place), printable(str(path)))
        if found is None or found in above or found in seen:
            folders.clear()
            continue
        seen.add(found)
        if RECORD in (*files, *folders):
            yield Path(place, RECORD)


def _inode(folder: str | Path) -> tuple[int, int] | None:
    """What a folder is, by whatever path; None for one that has gone."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _all_values(given: Sequence[Path], anew: bool) -> Iterator[tuple[str, Path | None, Any]]:
    """Every record under some paths, in the order of files: source, the folder of its predictions, and values.

    A file that was found, not ``given``, and cannot be read is skipped with a line, and so is what is no JSON.
    """
    files = {path: _files(path) for path in dict.fromkeys(given)}
    kept = {file: memory for path, found in files.items() for memory in [Kept(path, found, anew)] for file in found}
    for file in sorted(kept, key=attrgetter("parts")):  # the order of paths, in a fraction of the time
        try:
            yield from _lines(file) if file.suffix == ".jsonl" else _record(file, kept[file])
        except OSError as error:
            if file in files:
                raise
            log.warning("skipped %s: it cannot be read (%s)", printable(str(file)), error.strerror)
        except ValueError as error:
            log.warning("skipped %s", _one_line(error))
    for memory in {*kept.values()}:
        memory.write()


def _record(file: Path, kept: Kept) -> Iterator[tuple[str, Path | None, Any]]:
    beside = os.path.exists(os.path.join(file.parent, PREDICTIONS))
    yield str(file), file.parent if beside else None, kept.values(file)


def _lines(file: Path) -> Iterator[tuple[str, Path | None, Any]]:
    for number, line in enumerate(read_bytes(file).splitlines(), start=1):
        if line.strip():
            try:
                yield f"{file}:{number}", None, plain_values(line, f"{file}:{number}")
            except ValueError as error:
                log.warning("skipped %s", _one_line(error))


def _one_line(error: Exception) -> str:
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
