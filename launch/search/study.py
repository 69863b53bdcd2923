"""The study of a search in Optuna's journal file, which several processes share; it holds JSON alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from lt_bench.config.schema import Search

from .planned import better
from .space import Axis, Choice, Numbers

JOURNAL, NAME = "journal.log", "search"


def open_study(folder: Path, search: Search, prunes: bool, number: int = 0) -> optuna.Study:
    """The study of a search, begun where there is none.

    What is drawn for trial ``number`` is a function of the seed, the number and the trials that are done: a process
    for each trial draws what one process would.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    digest = hashlib.sha256(f"{search.seed} {number}".encode()).digest()
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=search.random_trials, seed=int.from_bytes(digest[:4], "big"), constant_liar=True
    )
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if prunes and search.prune_after_trials is not None:
        pruner = optuna.pruners.MedianPruner(search.prune_after_trials, search.prune_after_epochs or 0)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        study_name=NAME,
        load_if_exists=True,
        sampler=sampler,
        pruner=pruner,
        direction="maximize" if better(search.metric) == "higher" else "minimize",
    )


def ask(study: optuna.Study, axes: Mapping[str, Axis]) -> tuple[int, list[str]]:
    """The number of a new trial in the study, and the words of what was drawn for it."""
    trial = study.ask({key: _distribution(axis) for key, axis in axes.items()})
    return trial.number, [f"{key}={_typed(axis, trial.params[key])}" for key, axis in axes.items()]


def note(study: optuna.Study, number: int, epoch: int, score: float) -> None:
    """Note a trial's score after an epoch, once."""
    trial = study.trials[number]
    if epoch not in trial.intermediate_values and not trial.state.is_finished():
        _trial(study, number).report(score, epoch)


def falls_behind(study: optuna.Study, number: int) -> bool:
    """Whether a trial is to be stopped, by its scores and those of others."""
    return _trial(study, number).should_prune()


def _trial(study: optuna.Study, number: int) -> optuna.trial.Trial:
    return optuna.trial.Trial(study, study.trials[number]._trial_id)


def tell(study: optuna.Study, number: int, score: float | None) -> None:
    """End a trial with its score, or as one that was stopped; one that has ended already stays as it is."""
    if study.trials[number].state.is_finished():
        return
    if score is None:
        study.tell(number, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(number, score)


def axes_of(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Axis]:
    """The axes of a search as its file has them."""
    found: dict[str, Axis] = {}
    for key, values in written.items():
        fields = {name: value for name, value in values.items() if name != "kind"}
        found[key] = Choice(tuple(fields["values"])) if values["kind"] == Choice.__name__ else Numbers(**fields)
    return found


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _typed(axis: Axis, value: Any) -> str:
    return str(value) if isinstance(axis, Choice) else axis.typed(value)
