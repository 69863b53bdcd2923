"""The run record: what was run, how well it did, at what cost."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from lt_bench.evaluation.metrics import Metrics, group_std

SCHEMA = 2
PROBES = ("linear_probe", "few_shot_probe")
log = logging.getLogger(__name__)


def _one_of(*allowed: str) -> Any:
    return field(metadata={"allowed": allowed})


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run; two records are equal when all but cost and environment is.

    ``setting_id`` is shared by all seeds and split seeds of one setting; ``stage_one_id`` names the run that trained
    the encoder, if another one did; ``imbalance_factor`` is None for a data set's own counts; ``settings`` holds the
    dotted keys that decide the result and differ from their defaults, less the seeds of training and split; ``metrics``
    is a ``Metrics``, empty for a stage one.
    Building a record raises ValueError for values of the wrong type or out of range.
    """

    schema: int = SCHEMA
    kind: str = _one_of("run", "stage_one")
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
    metrics: dict[str, Any]
    group_rule: str
    selection: str = _one_of("last", "best_validation", "best_test")
    evaluated_on: str = _one_of("test", "validation")
    cost: dict[str, Any] = field(compare=False)
    environment: dict[str, Any] = field(compare=False)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = getattr(self, item.name)
            if not _fits(value, hints[item.name]):
                raise ValueError(f"key {item.name!r}: expected {item.type}, found {value!r}")
            allowed = item.metadata.get("allowed")
            if allowed and value not in allowed:
                raise ValueError(f"key {item.name!r}: expected one of {', '.join(allowed)}, found {value!r}")
        if self.kind == "run":
            _check_metrics(self.metrics)

    @property
    def is_probe(self) -> bool:
        """Whether a classifier was fitted on labels that stage one did not see, to judge its features."""
        return self.stage_two in PROBES

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, ready for JSON."""
        return asdict(self)

    def identity_values(self) -> dict[str, Any]:
        """The record less cost and environment: what must agree when a run is repeated."""
        return {key: value for key, value in self.to_dict().items() if key not in ("cost", "environment")}

    @classmethod
    def from_dict(cls, values: Any, source: str = "record") -> RunRecord:
        """Build a record from plain values; ValueError naming ``source`` and the key at fault."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{source}: expected an object with the keys of a record, found {type(values).__name__}")
        if values.get("schema") == 1:
            values = _of_schema_1(values)
        if values.get("schema") != SCHEMA:
            raise ValueError(f"{source}: key 'schema': expected 1 or {SCHEMA}, found {values.get('schema')!r}")
        names = {item.name for item in fields(cls)}
        for problem, keys in (("missing", names - values.keys()), ("unknown", values.keys() - names)):
            if keys:
                raise ValueError(f"{source}: {problem} key(s) {', '.join(map(repr, sorted(keys)))}")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None


def _of_schema_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record from before top-5 accuracy, which it cannot know, and the deviation over groups, which follows."""
    metrics = values.get("metrics")
    if not isinstance(metrics, Mapping) or not metrics:
        return {**values, "schema": SCHEMA}
    groups = [metrics.get(name) for name in ("many", "medium", "few")]
    known = all(_is_fraction(value, optional=True) for value in groups)
    new = {"top5": None, "group_std": group_std(*groups) if known else None}
    return {**values, "metrics": {**metrics, **new}, "schema": SCHEMA}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the type of an annotation; an int may stand for a float, a bool for nothing else."""
    kinds = {get_origin(option) or option for option in (get_args(hint) if isinstance(hint, UnionType) else (hint,))}
    kinds |= {int} if float in kinds else set()
    return isinstance(value, tuple(kinds)) and not isinstance(value, bool)


def _is_fraction(value: Any, optional: bool) -> bool:
    return optional if value is None else _fits(value, float) and 0 <= value <= 1


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    """ValueError naming the key if these are not the metrics of a run."""
    if odd := metrics.keys() ^ Metrics.__required_keys__:
        raise ValueError(f"key 'metrics': missing or unknown key(s) {', '.join(map(repr, sorted(odd)))}")
    optional = ("top5", "many", "medium", "few", "group_std")
    for key in ("top1", "macro", "ece", *optional):
        if not _is_fraction(metrics[key], optional=key in optional):
            raise ValueError(f"key 'metrics.{key}': expected a fraction in [0, 1], found {metrics[key]!r}")
    lists = ("per_class_accuracy", "test_counts", "train_counts")
    if not all(isinstance(metrics[key], list) for key in lists) or len({len(metrics[key]) for key in lists}) != 1:
        raise ValueError(f"key 'metrics': expected lists of one length, one entry a class, under {', '.join(lists)}")
    if not all(_is_fraction(value, optional=True) for value in metrics["per_class_accuracy"]):
        raise ValueError("key 'metrics.per_class_accuracy': expected fractions in [0, 1] or null")
    for key in lists[1:]:
        if not all(_fits(value, int) and value >= 0 for value in metrics[key]):
            raise ValueError(f"key 'metrics.{key}': expected counts of images")


def read_record(path: str | Path) -> RunRecord:
    """Read one ``record.json``; ValueError naming the file if it is no valid record."""
    return _parse(Path(path).read_bytes(), str(path))


def read_records(paths: Iterable[str | Path]) -> list[RunRecord]:
    """All records under some paths, each run once, sorted by run id.

    A folder gives every ``record.json`` at any depth and the ``*.jsonl`` files right in it (one record a line; a run's
    ``metrics.jsonl`` is left out); a file is read as one or the other.  What is no valid record is skipped with one
    line of warning.  Raises FileNotFoundError for a path that is not there, and ValueError naming both sources where
    two records of one run differ in more than cost and environment.
    """
    found: dict[str, tuple[str, RunRecord]] = {}
    files = sorted({file for path in paths for file in _files(Path(path))})
    for source, text in (entry for file in files for entry in _texts(file)):
        try:
            record = _parse(text, source)
        except ValueError as error:
            log.warning("skipped %s", " ".join(str(error).split()))
            continue
        first, known = found.setdefault(record.run_id, (source, record))
        if known != record:
            raise ValueError(f"run {record.run_id} has two different records, in {first} and in {source}: remove one")
    return [found[run_id][1] for run_id in sorted(found)]


def _parse(text: bytes, source: str) -> RunRecord:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{source}: not valid JSON: {error}") from None
    return RunRecord.from_dict(values, source)


def _files(path: Path) -> list[Path]:
    """The files under a path that should hold records."""
    if path.is_dir():
        return [*path.rglob("record.json"), *(file for file in path.glob("*.jsonl") if file.name != "metrics.jsonl")]
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    return [path]


def _texts(file: Path) -> list[tuple[str, bytes]]:
    """Source and text of every record in a file."""
    content = file.read_bytes()
    if file.suffix != ".jsonl":
        return [(str(file), content)]
    lines = enumerate(content.splitlines(), start=1)
    return [(f"{file}:{number}", line) for number, line in lines if line.strip()]
