"""What figures are made of: the runs under some paths, those that can be compared together, one row per setting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from lt_bench.config.compose import groups
from lt_bench.config.conf import text_of
from lt_bench.data.splits.split import read_manifest
from lt_bench.evaluation.metrics import headline
from lt_bench.evaluation.predictions import Predictions, load_predictions
from lt_bench.evaluation.shots import GROUPS, RULES, shot_groups
from lt_bench.figures.style import words
from lt_bench.record.collect import Found, read_found
from lt_bench.record.conditions import EPOCHS, conditions, distinguish, epochs_of, slug, word
from lt_bench.record.models import models
from lt_bench.record.order import order_of
from lt_bench.record.record import PREDICTIONS, SHOT_SEED, RunRecord
from lt_bench.record.sets import seen_as, with_sets


class NotPossible(ValueError):
    """A figure that some runs do not allow; the message says what they lack and what to do."""


@dataclass(frozen=True)
class Run:
    """A finished run, and its folder where there is more of it than a record."""

    record: RunRecord
    folder: Path | None

    def predictions(self) -> Predictions:
        """Its logits and labels, read anew at each call, because they may be large; NotPossible without them."""
        if self.folder is None or not (self.folder / PREDICTIONS).exists():
            raise NotPossible(f"run {self.record.run_id} has no {PREDICTIONS} beside its record: name its folder")
        try:
            return seen_as(self.record, load_predictions(self.folder / PREDICTIONS))
        except (OSError, ValueError) as error:
            raise NotPossible(f"run {self.record.run_id}: {error}") from error


@dataclass(frozen=True)
class Row:
    """One setting: its label and its runs; several draws of a probe's shots on one model are runs of equal seeds."""

    label: str
    runs: tuple[Run, ...]

    @property
    def models(self) -> list[list[Run]]:
        """The runs by split seed and seed; UsageError for two with all seeds alike, which are not to be averaged."""
        return models(self.runs, lambda run: run.record)

    def per_model(self, name: str) -> np.ndarray:
        """A metric of every model, mean over draws, (models, ...) float64; NaN where it is not known."""
        values = [[_floats(run.record.metrics.get(name)) for run in runs] for runs in self.models]
        try:
            return np.stack([np.mean(np.stack(draws), axis=0) for draws in values])
        except ValueError as error:
            raise NotPossible(f"the runs of {self.label} differ in their number of classes") from error


@dataclass(frozen=True)
class Study:
    """Runs that can stand in one figure: the name of its files, its title, the rows in the order of tables."""

    name: str
    title: str
    rows: tuple[Row, ...]

    @cached_property
    def train_counts(self) -> np.ndarray:
        """Training images per class, (C,) float64, mean over runs; NotPossible where the runs do not say."""
        known = [run.record.metrics.get("train_counts") or [] for row in self.rows for run in row.runs]
        if len({len(counts) for counts in known}) != 1 or not known[0]:
            raise NotPossible("the records do not say how many training images each class had")
        return np.mean(np.array(known, dtype=np.float64), axis=0)

    @property
    def of_pixels(self) -> bool:
        """Whether its runs predict pixels: they have IoUs, counted pixels, and nothing of single images."""
        return "miou" in headline(self.rows[0].runs[0].record.metrics)

    @property
    def counted(self) -> str:
        """What is predicted and counted: "images" or "pixels"."""
        return "pixels" if self.of_pixels else "images"

    @property
    def score(self) -> tuple[str, str]:
        """What is said of a class: its name, and the metric that has it of every class."""
        return ("IoU", "per_class_iou") if self.of_pixels else ("accuracy", "per_class_accuracy")

    def require_images(self) -> None:
        """Raise NotPossible where there are pixels alone."""
        if self.of_pixels:
            raise NotPossible("it is of single images, and these runs are of pixels, which are counted")

    @property
    def order(self) -> np.ndarray:
        """The classes from head to tail, (C,); ties by class id."""
        return np.argsort(-self.train_counts, kind="stable")

    @property
    def borders(self) -> dict[str, tuple[int, int]]:
        """Where each group that has classes begins and ends in ``order``."""
        rule = self.rows[0].runs[0].record.group_rule
        if rule not in RULES:
            return {}
        sizes = [len(shot_groups(self.train_counts.round(), rule)[group]) for group in GROUPS]
        ends = np.cumsum(sizes).tolist()
        return {name: (end - size, end) for name, size, end in zip(GROUPS, sizes, ends, strict=True) if size}

    @cached_property
    def class_names(self) -> list[str]:
        """The names of the classes in a run's split, or their numbers."""
        folders = [run.folder for row in self.rows for run in row.runs if run.folder is not None]
        names = next((found for folder in folders if (found := _names(folder))), [])
        count = len(self.train_counts)
        return [words(name) for name in names] if len(names) == count else [str(label) for label in range(count)]


def read_studies(paths: Sequence[Path], only: Sequence[str] = (), sets: Sequence[str] = ()) -> list[Study]:
    """The studies under some paths, with those rows alone whose label has one of the texts ``only`` in it.

    Some sets of logits of each run are rows of their own, see ``with_sets``.
    Raises FileNotFoundError and ValueError as ``read_records`` does, and UsageError as ``studies_of``.
    """
    return studies_of(with_sets(read_found(paths, ()), sets), only)


def studies_of(found: Iterable[Found], only: Sequence[str] = ()) -> list[Study]:
    """As ``read_studies``, of runs that are read already; UsageError where a row has two runs with all seeds alike."""
    runs = [run_of(one) for one in found if one.record.kind == "run"]
    parts: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        parts.setdefault(_key(run.record), []).append(run)
    ordered = [parts[key] for key in sorted(parts, key=lambda key: json.dumps(key))]
    studies = [
        Study(name, title, rows)
        for (name, title), part in zip(_names_of(ordered), ordered, strict=True)
        if (rows := tuple(row for row in _rows(part) if not only or any(one in row.label for one in only)))
    ]
    for row in (row for study in studies for row in study.rows):
        row.models  # noqa: B018  # refuses runs of the same seeds before anything is drawn
    return studies


def _folder(found: Found) -> Path | None:
    source = Path(found.source)
    return found.folder or (source.parent if source.name == "record.json" else None)


def run_of(found: Found) -> Run:
    """A run from where its record was found."""
    return Run(found.record, _folder(found))


def _key(record: RunRecord) -> tuple[Any, ...]:
    given = conditions(json.dumps(record.settings))
    names = (record.dataset, record.imbalance_factor, record.imbalance_profile, record.backbone, record.budget)
    return (*names, record.evaluated_on, record.is_probe, record.group_rule, given)


def _names_of(parts: Sequence[list[Run]]) -> list[tuple[str, str]]:
    """Name and title of every study; conditions tell namesakes apart, and a hash where they do not."""
    found = []
    for part in parts:
        record = part[0].record
        factor = record.imbalance_factor
        tail = "native imbalance" if factor is None else f"imbalance factor {factor:g}"
        tail += "" if record.imbalance_profile == "exponential" or factor is None else f" ({record.imbalance_profile})"
        more = [f"budget {record.budget}"] * (record.budget != "paper") + ["probe"] * record.is_probe
        title = ", ".join([_title(record.dataset), tail, *more, f"{record.evaluated_on} images"])
        pieces = [record.dataset, "native" if factor is None else f"if{factor:g}", *["probe"] * record.is_probe]
        pieces += [record.budget] * (record.budget != "paper")
        pieces += [record.evaluated_on] * (record.evaluated_on != "test")
        found.append((slug("_".join(pieces)), title))
    names = [name for name, _ in found]
    for name in {name for name in names if names.count(name) > 1}:
        places = [place for place, other in enumerate(names) if other == name]
        labels = distinguish([conditions(json.dumps(parts[place][0].record.settings)) for place in places])
        for place, label in zip(places, labels, strict=True):
            title = ", ".join([found[place][1], *(words(one) for one in label.words)])
            found[place] = (f"{name}_{_digest(_key(parts[place][0].record))}", title)
    return found


def _rows(part: Sequence[Run]) -> list[Row]:
    settings: dict[str, list[Run]] = {}
    for run in part:
        settings.setdefault(run.record.setting_id, []).append(run)
    groups = list(settings.values())
    names = [f"{runs[0].record.method_name} / {runs[0].record.stage_two_name}" for runs in groups]
    details = [_details(runs[0].record) for runs in groups]
    lengths = [epochs_of(runs[0].record.settings) for runs in groups]
    rows = []
    for name, own, length, runs in zip(names, details, lengths, groups, strict=True):
        others = [other for other_name, other in zip(names, details, strict=True) if other_name == name]
        flattered = ["epoch"] * (own["epoch"] == "best_test")  # said in any case, as tables mark it
        keys = [key for key in dict.fromkeys([*_differing(others), *flattered]) if key in own and key not in EPOCHS]
        named = [_detail(key, own[key]) for key in keys]
        if len(set(lengths)) > 1:  # said of every row, as tables have a column then
            named = [f"{length} epochs", *named]
        label = f"{name} ({', '.join(named)})" if named else name
        seeds = sorted(runs, key=lambda run: (run.record.split_seed, run.record.seed, run.record.run_id))
        rows.append(Row(words(label, 70), tuple(seeds)))
    labels = [row.label for row in rows]
    rows = [
        Row(f"{row.label} [{row.runs[0].record.setting_id}]", row.runs) if labels.count(row.label) > 1 else row
        for row in rows
    ]
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[Any, ...]:
    record = row.runs[0].record
    method = order_of("method", record.method_name, record.method_order)
    rule = order_of("stage_two", record.stage_two_name, record.stage_two_order)
    return method, record.method_name, rule, record.stage_two_name, row.label


def _details(record: RunRecord) -> dict[str, Any]:
    return {"fidelity": record.fidelity, "epoch": record.selection, **record.settings}


def _differing(rows: Sequence[dict[str, Any]]) -> list[str]:
    keys = sorted({key for row in rows for key in row} - {SHOT_SEED})
    return [key for key in keys if len({json.dumps(row.get(key)) for row in rows}) > 1]


def _detail(key: str, value: Any) -> str:
    name = key.rpartition(".")[2].strip("_").replace("_", " ")
    return f"{name} {'+'.join(map(word, value)) if isinstance(value, list) else word(value)}"


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8]


def _floats(value: Any) -> np.ndarray:
    return np.array(np.nan if value is None else value, dtype=np.float64)


def _names(folder: Path) -> list[str]:
    found = read_manifest(folder / "split.json").get("classes")
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else []


@cache
def _title(dataset: str) -> str:
    """The title in the file of a data set, or its name."""
    if dataset not in groups()["dataset"]:
        return words(dataset)
    tree = OmegaConf.create(text_of(f"dataset/{dataset}"))
    return words(OmegaConf.select(tree, "dataset.title", default=dataset))


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation over models (n, ...), each (...); of one model the deviation is NaN.

    What is not known of a model is left out: the accuracy of a class without test images.
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean = np.divide(np.where(known, values, 0).sum(axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)
    squares = np.where(known, (values - mean) ** 2, 0).sum(axis=0)
    std = np.sqrt(np.divide(squares, count - 1, out=np.full(count.shape, np.nan), where=count > 1))
    return mean, std


def told(rows: Iterable[Row]) -> str:
    """How many runs stand behind each row, in words."""
    counts = sorted({len(row.models) for row in rows})
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return "one run each" if counts == [1] else f"mean ± standard deviation over {many} runs"
