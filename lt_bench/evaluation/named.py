"""Named sets of logits: those of single experts or branches, in place of what a run evaluates."""

from __future__ import annotations

from dataclasses import replace

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import METRICS, Metric
from lt_bench.evaluation.predictions import LOGITS, Predictions

AT = "@"  # top1@expert0 is the metric top1 of the set of logits expert0


def with_logits(predictions: Predictions, name: str) -> Predictions:
    """The predictions with one of their sets of logits as what is evaluated, also of their validation images.

    Weights of experts are those of what was evaluated, so they are left out with it. Raises UsageError, which names
    the sets that there are.
    """
    if name == LOGITS and name in predictions.logits_by_name:
        return predictions
    if name not in predictions.logits_by_name:
        there = ", ".join(predictions.logits_by_name) or "none, but counts"
        raise UsageError(f"there is no set of logits {name!r}; there are {there}")
    by_name = {**predictions.logits_by_name, LOGITS: predictions.logits_by_name[name]}
    held_out = predictions.validation
    if held_out is not None:
        held_out = with_logits(held_out, name) if name in held_out.logits_by_name else None
    return replace(predictions, logits_by_name=by_name, validation=held_out, expert_weights={})


def metric_of(word: str) -> str:
    """The name of a metric that is one number; METRIC@SET, that of a set of logits, is entered into ``METRICS``.

    It is not known of runs that have no such set. Raises KeyError where there is no metric of that name.
    """
    name, at, logits = word.partition(AT)
    known = METRICS[name]
    if known.per_class or (at and not logits):
        raise KeyError(word)
    if at and word not in METRICS:
        METRICS[word] = _of_set(known, logits)
    return word


def _of_set(known: Metric, logits: str) -> Metric:
    return known._replace(
        function=lambda predictions: known.function(with_logits(predictions, logits)),
        column=f"{known.column} ({logits})",
        needs=(*known.needs, logits),
        optional=True,
        recorded=False,
    )
