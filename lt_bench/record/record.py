"""The run record: what was run, how well it did, at what cost."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from lt_bench.command import printable
from lt_bench.config.stages import StageName
from lt_bench.evaluation.metrics import METRICS, evaluate
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.files import parse_json, read_bytes
from lt_bench.record.metrics import Metrics, check_metrics, fits, readable

SCHEMA = 3
PREDICTIONS = "predictions.npz"  # beside a run's record
PROBES = ("linear_probe", "few_shot_probe")
log = logging.getLogger(__name__)


def _one_of(*allowed: str) -> Any:
    return field(metadata={"allowed": allowed})


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run; two records are equal when all but schema, orders, cost and environment is.

    ``setting_id`` is shared by all seeds and split seeds of one setting; ``stage_one_id`` names the run that trained
    the encoder, if another one did; ``imbalance_factor`` is None for a data set's own counts; ``settings`` holds the
    dotted keys that decide the result and differ from their defaults, less the seeds of training and split; ``metrics``
    are those that were known when the run was evaluated, none for a stage one. Rows of tables stand by the orders.
    Building a record raises ValueError for values of the wrong type or out of range; a newer schema than ``SCHEMA`` may
    have words that are not known here.
    """

    schema: int = field(default=SCHEMA, compare=False)
    kind: str = _one_of(StageName.TWO.kind, StageName.ONE.kind)
    run_id: str
    stage_one_id: str | None
    setting_id: str
    method: str
    method_name: str
    dataset: str
    imbalance_profile: str
    imbalance_factor: float | None
    backbone: str
    stage_two: str
    stage_two_name: str
    fidelity: str = _one_of("clean", "official")
    budget: str
    seed: int
    split_seed: int
    settings: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=Metrics)
    group_rule: str
    selection: str = _one_of("last", "best_validation", "best_test")
    evaluated_on: str = _one_of("test", "validation")
    method_order: int | None = field(default=None, compare=False)
    stage_two_order: int | None = field(default=None, compare=False)
    cost: dict[str, Any] = field(compare=False)
    environment: dict[str, Any] = field(compare=False)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = getattr(self, item.name)
            if not fits(value, hints[item.name]):
                raise ValueError(f"key {item.name!r}: expected {item.type}, found {value!r}")
            allowed = item.metadata.get("allowed")
            if allowed and value not in allowed and self.schema <= SCHEMA:
                raise ValueError(f"key {item.name!r}: expected one of {', '.join(allowed)}, found {value!r}")
        check_metrics(self.metrics)
        object.__setattr__(self, "metrics", Metrics(self.metrics))

    @property
    def is_probe(self) -> bool:
        """Whether a classifier was fitted on labels that stage one did not see, to judge its features."""
        return self.stage_two in PROBES

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, ready for JSON."""
        return asdict(self)

    def identity_values(self) -> dict[str, Any]:
        """The record less what is not compared: what must agree when a run is repeated."""
        compared = {item.name for item in fields(self) if item.compare}
        return {key: value for key, value in self.to_dict().items() if key in compared}

    @classmethod
    def from_dict(cls, values: Any, source: str = "record") -> RunRecord:
        """Build a record from plain values of any schema; ValueError naming ``source`` and the key at fault.

        An older record lacks what was added since; of a newer one, keys and metrics that mean something else here are
        left out, and metrics that are not known here are kept as they are.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{source}: expected an object with the keys of a record, found {type(values).__name__}")
        schema: Any = values.get("schema")
        if not fits(schema, int) or schema < 1:
            raise ValueError(f"{source}: key 'schema': expected a whole number from 1, found {schema!r}")
        needed = {item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING}
        if missing := needed - values.keys():
            raise ValueError(f"{source}: missing key(s) {', '.join(map(repr, sorted(missing)))}")
        known: dict[str, Any] = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        if isinstance(metrics := known.get("metrics"), Mapping):
            known["metrics"] = readable(metrics, newer=schema > SCHEMA)
        try:
            return cls(**known | {"schema": max(schema, SCHEMA)})
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None


def unknown_keys(values: Any) -> set[str]:
    """The keys of a record's plain values that mean nothing here."""
    return set(values) - {item.name for item in fields(RunRecord)} if isinstance(values, Mapping) else set()


def read_record(path: str | Path) -> RunRecord:
    """Read one ``record.json``; ValueError naming the file if it is no valid record."""
    return RunRecord.from_dict(_values(read_bytes(path), str(path)), str(path))


class _Found(NamedTuple):
    """A run's record, the first place it was found in, and the folder of its predictions, if they are there."""

    record: RunRecord
    source: str
    folder: Path | None


def read_records(paths: Iterable[str | Path], metrics: Collection[str] | None = None) -> list[RunRecord]:
    """All records under some paths, each run once, sorted by run id.

    A folder gives every ``record.json`` at any depth and the ``*.jsonl`` files right in it (one record a line; a run's
    ``metrics.jsonl`` is left out); a file is read as one or the other.  What is no valid record is skipped with one
    line of warning; keys that mean nothing here are ignored, with one line for all.  ``metrics``, where None: every
    one, are computed from the predictions beside a record that does not have them yet.  Raises FileNotFoundError for a
    path that is not there, and ValueError naming both sources where two records of one run differ in more than cost,
    environment and which metrics they have.
    """
    found: dict[str, _Found] = {}
    ignored: Counter[str] = Counter()
    files = sorted({file for path in paths for file in _files(Path(path))})
    for source, folder, text in (entry for file in files for entry in _texts(file)):
        try:
            values = _values(text, source)
            record = RunRecord.from_dict(values, source)
        except ValueError as error:
            log.warning("skipped %s", printable(" ".join(str(error).split())))
            continue
        ignored.update(unknown_keys(values))
        new = _Found(record, source, folder)
        found[record.run_id] = _merged(found[record.run_id], new) if record.run_id in found else new
    if ignored:
        counted = ", ".join(f"{key!r} ({count})" for key, count in sorted(ignored.items()))
        log.warning("ignored keys of records that this version does not know: %s", counted)
    return [_filled(found[run_id], METRICS if metrics is None else metrics) for run_id in sorted(found)]


def _merged(first: _Found, second: _Found) -> _Found:
    """Two records of one run as one, with the metrics of both; ValueError where they contradict each other."""
    one, other = first.record, second.record
    metrics = {**other.metrics, **one.metrics}
    if metrics != {**metrics, **other.metrics} or replace(one, metrics={}) != replace(other, metrics={}):
        sources = f"{first.source} and in {second.source}"
        raise ValueError(f"run {one.run_id} has two different records, in {sources}: remove one")
    return _Found(replace(one, metrics=metrics), first.source, first.folder or second.folder)


def _filled(found: _Found, names: Collection[str]) -> RunRecord:
    """The record with those of some metrics that it lacks, where its predictions are there."""
    record, lacking = found.record, set(names) - found.record.metrics.keys()
    if record.kind != "run" or found.folder is None or not lacking:
        return record
    try:
        predictions = load_predictions(found.folder / PREDICTIONS)
    except (OSError, ValueError) as error:
        said = printable(f"metrics of run {record.run_id} are not known: {' '.join(str(error).split())}")
        log.warning("%s", said)
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


def _values(text: bytes, source: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{source}: not valid JSON: {error}") from None


def _files(path: Path) -> list[Path]:
    """The files under a path that should hold records."""
    if path.is_dir():
        return [*path.rglob("record.json"), *(file for file in path.glob("*.jsonl") if file.name != "metrics.jsonl")]
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    return [path]


def _texts(file: Path) -> list[tuple[str, Path | None, bytes]]:
    """Every record in a file: source, the folder of its predictions where they are there, and text."""
    content = read_bytes(file)
    if file.suffix != ".jsonl":
        return [(str(file), file.parent if (file.parent / PREDICTIONS).exists() else None, content)]
    lines = enumerate(content.splitlines(), start=1)
    return [(f"{file}:{number}", None, line) for number, line in lines if line.strip()]
