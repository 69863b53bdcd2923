"""Runs by their sets of logits: what single experts or branches of a run said, as runs beside it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from lt_bench.command import printable
from lt_bench.errors import UsageError, one_line
from lt_bench.evaluation.metrics import evaluate, recorded
from lt_bench.evaluation.named import with_logits
from lt_bench.evaluation.predictions import LOGITS, Predictions, load_predictions
from lt_bench.record.collect import Found
from lt_bench.record.record import PREDICTIONS, RunRecord

ALL, SET = "all", "logits"  # every set; the setting by which a set of a run is told from the run
log = logging.getLogger(__name__)


def with_sets(found: Iterable[Found], names: Collection[str], metrics: Collection[str] | None = None) -> list[Found]:
    """The runs, each followed by some of its sets of logits, which are runs of their own with the setting ``logits``.

    Those of experts and branches are known where predictions are beside the record; a run that lacks a set has none.
    Their metrics are the recorded ones, or ``metrics``, from these logits. Raises UsageError for a name of no set.
    """
    asked, runs = recorded() if metrics is None else metrics, [*found]
    if not names:
        return runs
    made = [one for run in runs for one in (run, *_sets(run, names, asked))]
    if runs and (missing := sorted({*names} - {ALL} - {one.record.settings.get(SET) for one in made})):
        said = "no run here has stored logits of that name"
        raise UsageError(f"--logits {missing[0]}: {said}; --logits {ALL} shows those there are")
    return made


def seen_as(record: RunRecord, predictions: Predictions) -> Predictions:
    """The predictions of a run as its record is about them: with that set of logits that it is for, or as counted."""
    return with_logits(predictions, record.settings[SET]) if SET in record.settings else predictions


def _sets(run: Found, names: Collection[str], metrics: Collection[str]) -> Iterator[Found]:
    if run.folder is None:
        return
    try:
        predictions = load_predictions(run.folder / PREDICTIONS)
    except (OSError, ValueError) as error:
        log.warning("sets of logits of run %s are not known: %s", printable(run.record.run_id), one_line(error))
        return
    record = run.record
    for name in predictions.logits_by_name:
        if name == LOGITS or not {name, ALL} & {*names}:
            continue
        own: dict[str, Any] = {
            "run_id": f"{record.run_id}-{name}",
            "setting_id": f"{record.setting_id}-{name}",
            "settings": {**record.settings, SET: name},
            "metrics": evaluate(with_logits(predictions, name), metrics),
        }
        yield run._replace(record=replace(record, **own), packed=None)
