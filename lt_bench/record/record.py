"""The run record: what was run, how well it did, at what cost."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from lt_bench.config.stages import StageName
from lt_bench.files import SMALL, parse_json, read_bytes
from lt_bench.record.metrics import Metrics, check_metrics, fits, is_one_of, kinds, readable

SCHEMA = 3
SAME_IMAGES = "same_images"  # in the environment of a record, where images are in two parts of its data
NOT_LOOKED_AT = "not_looked_at"  # there too, where nobody looked for such images, or at all that training may draw
RECORD, PREDICTIONS, CHECKPOINT = "record.json", "predictions.npz", "checkpoint.pt"  # of a run, in its folder
PREDICTOR = "predictor.safetensors"  # what predicts new images
CONTRIBUTED = "contributed"  # in the environment of somebody else's record: by whom, and by what it was checked
ADAPTED = "adapted_on_{}_images"  # there too, true where something was learnt on the images that are evaluated
CHOSEN = "chosen"  # among a record's epochs
STOPPED = "stopped_after"  # beside the epoch that was chosen: how many were trained, where that is not all
PROBES = ("knn", "linear_probe", "few_shot_probe")
SHOT_SEED = "stage_two.shot_seed"  # the setting that few-shot probes of one model differ in
log = logging.getLogger(__name__)


# What is read of the parts of a record that may hold anything else as well: where it is there, it is of this kind.
_PARTS: dict[str, Any] = {
    "settings": {SHOT_SEED: int, **{f"{stage.training}.epochs": int for stage in StageName}},
    "epochs": {
        **{stage.training: {"epochs": int, "recipe_epochs": int} for stage in StageName},
        CHOSEN: {stage.training: {"epoch": int, "score": float, "on": str, STOPPED: int} for stage in StageName},
        "not_reached": list,
    },
    "cost": {
        **dict.fromkeys(("seconds", "stage_one_seconds", "images_per_second", "peak_memory_mb"), float),
        "device": str,
    },
    "environment": {"processes": int, SAME_IMAGES: list, NOT_LOOKED_AT: list, CONTRIBUTED: {"by": str, "checked": str}},
}


def _one_of(*allowed: str) -> Any:
    return field(metadata={"allowed": allowed})


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run; two records are equal when all but schema, budget, epochs, orders, cost and environment is.

    ``setting_id`` is shared by all seeds and split seeds of one setting; ``stage_one_id`` names the run that trained
    the encoder, if another one did; ``imbalance_factor`` is None for a data set's own counts; ``settings`` holds the
    dotted keys that decide the result and differ from their defaults, less the seeds of training and split; ``metrics``
    are those that were known when the run was evaluated, none for a stage one; ``epochs`` says of which stages the
    epochs were typed, with those of the recipe, what ``moved`` with them and what was ``not_reached``; ``chosen`` has,
    by the key of a stage's training, the epoch (from 0) whose weights were kept, its score and what that is ``on``,
    and after how many epochs training ``stopped`` for lack of a better one;
    ``checkpoint`` has the checksum and the epoch of the one that training ended with, None where nothing was trained;
    ``class_names`` are those of the classes by number, None where they have none or a record is older.
    Rows of tables stand by the orders.
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
    budget: str = field(compare=False)
    seed: int
    split_seed: int
    settings: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=Metrics)
    group_rule: str
    selection: str = _one_of("last", "best_validation", "best_test")
    evaluated_on: str = _one_of("test", "validation")
    method_order: int | None = field(default=None, compare=False)
    stage_two_order: int | None = field(default=None, compare=False)
    epochs: dict[str, Any] = field(default_factory=dict, compare=False)
    checkpoint: dict[str, Any] | None = field(default=None, compare=False)
    class_names: list[str] | None = field(default=None, compare=False)
    cost: dict[str, Any] = field(compare=False)
    environment: dict[str, Any] = field(compare=False)

    def __post_init__(self) -> None:
        values = vars(self)
        for item, types, allowed in _typed():
            value = values[item.name]
            if not is_one_of(value, types):
                raise ValueError(f"key {item.name!r}: expected {item.type}, found {value!r}")
            if allowed and value not in allowed and self.schema <= SCHEMA:
                raise ValueError(f"key {item.name!r}: expected one of {', '.join(allowed)}, found {value!r}")
        _check_parts(values, _PARTS)
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
        if missing := _needed() - values.keys():
            raise ValueError(f"{source}: missing key(s) {', '.join(map(repr, sorted(missing)))}")
        known: dict[str, Any] = {name: values[name] for name in _known() if name in values}
        if isinstance(metrics := known.get("metrics"), Mapping):
            known["metrics"] = readable(metrics, newer=schema > SCHEMA)
        try:
            return cls(**known | {"schema": max(schema, SCHEMA)})
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None


@cache
def _typed() -> list[tuple[Field[Any], tuple[type, ...], tuple[str, ...]]]:
    """The fields of a record with the types that their values have, and the only values where there are such."""
    hints = get_type_hints(RunRecord)
    return [(item, kinds(hints[item.name]), item.metadata.get("allowed", ())) for item in fields(RunRecord)]


@cache
def _known() -> frozenset[str]:
    """The keys of a record."""
    return frozenset(item.name for item in fields(RunRecord))


@cache
def _needed() -> frozenset[str]:
    """The keys that every record has."""
    found = (item for item in fields(RunRecord) if item.default is MISSING and item.default_factory is MISSING)
    return frozenset(item.name for item in found)


def _check_parts(values: Mapping[str, Any], hints: Mapping[str, Any], above: str = "") -> None:
    """ValueError naming the key of the first value that is of another kind than ``hints`` says."""
    for name, hint in hints.items():
        if name not in values:
            continue
        value, inside = values[name], isinstance(hint, dict)
        if not fits(value, dict if inside else hint):
            kind = "an object" if inside else hint.__name__
            raise ValueError(f"key '{above}{name}': expected {kind}, found {value!r}")
        if inside:
            _check_parts(values[name], hint, f"{above}{name}.")


def unknown_keys(values: Any) -> set[str]:
    """The keys of a record's plain values that mean nothing here."""
    return set(values) - _known() if isinstance(values, Mapping) else set()


def read_record(path: str | Path) -> RunRecord:
    """Read one ``record.json``; ValueError naming the file if it is no valid record."""
    return RunRecord.from_dict(plain_values(read_bytes(path, SMALL), str(path)), str(path))


def plain_values(text: bytes, source: str) -> Any:
    """A record's text as plain values; ValueError naming the ``source`` where it is no JSON, which knows no NaN."""
    try:
        values = parse_json(text)
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()  # what no table and no file could hold
    except ValueError as error:
        raise ValueError(f"{source}: not valid JSON: {error}") from None
    return values
