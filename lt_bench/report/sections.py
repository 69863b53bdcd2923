"""Sections: the runs that belong in one table, and its rows, one per setting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from lt_bench.evaluation.metrics import scalars
from lt_bench.record.conditions import conditions, distinguish, file_name, shortened, slug
from lt_bench.record.models import of_same_seeds
from lt_bench.report.escape import folded
from lt_bench.report.labels import labels, raw

KEY = ["dataset", "imbalance_factor", "imbalance_profile", "backbone", "budget", "conditions"]
SHARED = ["fidelity", "selection", "group_rule"]  # named in the caption where all rows agree, in columns otherwise
USUAL = {"budget": "paper", "evaluated_on": "test"}  # what a table's name need not say
EPOCHS = "epochs"  # in the caption, and in a column where rows differ
ROW = ["method_name", "stage_two_name", "setting_id", "settings", EPOCHS, *SHARED]
SEEDS = ["split_seed", "seed"]
BASELINES = {"ce": "CE", "balanced_softmax": "Balanced Softmax"}  # first in every table, by the names of their methods


class Row(NamedTuple):
    """One setting: its label and key, unique in the table, what its runs have in common (``ROW``), and its runs.

    The label reads as a person would write it; the key has settings as they are typed.

    Few-shot probes of one model, which differ in ``shot_seed``, are one run with their mean; ``draws`` counts them,
    ``run_ids`` names them.
    """

    label: str
    key: str
    fields: dict[str, Any]
    runs: pd.DataFrame


class Section(NamedTuple):
    """What one table is made of: its name, which is also the file's, what the runs have in common, and the rows.

    ``conditions`` are the ``key=value`` words that tell it from other sections of the same data set and budget;
    ``contributed`` says whether somebody contributed any of the runs.
    """

    name: str
    fields: dict[str, Any]
    rows: list[Row]
    conditions: list[str]
    contributed: bool

    def differing(self) -> list[str]:
        """Those of ``SHARED``, and the epochs, in which the rows differ."""
        return [key for key in (*SHARED, EPOCHS) if len({row.fields[key] for row in self.rows}) > 1]


def sections(runs: pd.DataFrame) -> list[Section]:
    """The tables of a frame of runs: one per data set, imbalance, backbone, budget and further conditions.

    Probes have tables of their own, because their classifier is fitted on other labels than all others.
    A name is data set and imbalance factor, then profile and backbone where that pair has several, "probe" for probes,
    then the budget unless it is "paper", the split unless it is "test", and the conditions in which sections of that
    name differ.  Raises UsageError if two runs of one setting have the same seeds.
    """
    result = []
    runs = runs.assign(conditions=runs["settings"].map({text: conditions(text) for text in runs["settings"].unique()}))
    for _, pair in runs.groupby(KEY[:2], dropna=False):
        several = [key for key in ("imbalance_profile", "backbone") if pair[key].nunique() > 1]
        for _, part in pair.groupby([*KEY[2:], "probe"]):
            fields = {str(key): value for key, value in part.iloc[0].items()}
            factor = fields["imbalance_factor"]
            fields["imbalance"] = "native" if pd.isna(factor) else f"if{factor:g}"
            parts = [fields[key] for key in ("dataset", "imbalance", *several)]
            parts += ["probe"] if fields["probe"] else []
            parts += [fields[key] for key, usual in USUAL.items() if fields[key] != usual]
            contributed = bool(part["contributed"].notna().any())
            result.append(Section(slug("_".join(parts)), fields, rows_of(part), [], contributed))
    return _named_apart(result)


def _named_apart(parts: list[Section]) -> list[Section]:
    """The sections under names of their own: by their conditions, and by a hash where those leave names equal."""
    result: list[Section] = []
    for name in dict.fromkeys(part.name for part in parts):
        namesakes = [part for part in parts if part.name == name]
        labels = distinguish([part.fields["conditions"] for part in namesakes])
        named = [
            part._replace(name=file_name(name + suffix), conditions=words)
            for part, (suffix, words) in zip(namesakes, labels, strict=True)
        ]
        result += sorted(named, key=lambda part: part.name)
    names = [folded(part.name) for part in result]
    return [
        part._replace(name=f"{part.name}_{_hash(part)}") if names.count(folded(part.name)) > 1 else part
        for part in result
    ]


def _hash(section: Section) -> str:
    return hashlib.sha256(json.dumps([section.fields[key] for key in KEY]).encode()).hexdigest()[:8]


def rows_of(part: pd.DataFrame) -> list[Row]:
    """The rows of a frame of runs, in the order of tables; UsageError for two runs of one setting and equal seeds."""
    alike = part[part.duplicated([*ROW, *SEEDS, "shot_seed"], keep=False)]
    for key, twins in alike.groupby(ROW):
        raise of_same_seeds(str(key[ROW.index("setting_id")]), twins["run_id"])
    groups = [(dict(zip(ROW, key, strict=True)), runs) for key, runs in _models(part).groupby(ROW)]
    named = _labels([fields for fields, _ in groups])
    rows = [Row(*words, fields, runs) for words, (fields, runs) in zip(named, groups, strict=True)]
    return sorted(rows, key=_rank)


def _models(runs: pd.DataFrame) -> pd.DataFrame:
    """One line per model of a setting: the runs that differ in ``shot_seed`` alone, with the mean of their metrics."""
    model = [*ROW, *SEEDS]
    first = runs.drop_duplicates(model)
    if len(first) == len(runs):
        return runs.assign(draws=1, run_ids=runs["run_id"])
    by_seeds = runs.groupby(model, sort=False)
    draws = by_seeds.size()
    metrics = by_seeds[scalars()]
    known = metrics.count().eq(draws, axis=0)  # in every draw: some may be older than a metric
    means = metrics.mean().where(known).to_numpy()
    several = draws.to_numpy() > 1
    first = first.assign(draws=draws.to_numpy(), run_ids=by_seeds["run_id"].agg(" ".join).to_numpy())
    first.loc[several, scalars()] = means[several]
    return first


def _rank(row: Row) -> tuple[object, ...]:
    method, stage_two = row.fields["method_name"], row.fields["stage_two_name"]
    other = row.runs["method"].iat[0] not in BASELINES
    places = row.runs["method_order"].min(), row.runs["stage_two_order"].min()
    return other, places[0], method, places[1], stage_two, row.key


def _labels(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Label and key of every row: method and stage two, and what tells it from other rows of that name."""
    names = [f"{shortened(row['method_name'])} / {shortened(row['stage_two_name'])}" for row in rows]
    details = [{key: row[key] for key in SHARED} | json.loads(row["settings"]) for row in rows]
    namesakes: dict[str, list[dict[str, Any]]] = {}
    for name, own in zip(names, details, strict=True):
        namesakes.setdefault(name, []).append(own)
    keys = {name: _differing_keys(several) for name, several in namesakes.items()}
    differing = [{key: own[key] for key in keys[name] if key in own} for name, own in zip(names, details, strict=True)]
    found = [labels(names, differing), list(map(raw, names, differing))]
    for texts in found:
        doubled = {text for text in texts if texts.count(text) > 1}
        for place, text in enumerate(texts):
            texts[place] = f"{text} [setting {rows[place]['setting_id']}]" if text in doubled else text
    return list(zip(*found, strict=True))


def _differing_keys(rows: list[dict[str, Any]]) -> list[str]:
    """The keys that not all rows have with the same value, sorted."""
    first = rows[0]
    found = {key for row in rows for key in row if key not in first or row[key] != first[key]}
    return sorted(found | {key for row in rows for key in first if key not in row})


def all_labels(parts: Iterable[Section]) -> list[str]:
    """The labels of all rows, each once, sorted."""
    return sorted({row.label for part in parts for row in part.rows})


def is_row(text: str, parts: Iterable[Section]) -> bool:
    """Whether a text is the label or the key of any row."""
    return any(text in (row.label, row.key) for part in parts for row in part.rows)
