"""What a search is, from the words that were typed: nothing is drawn or carried out here."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lt_bench.command import as_called
from lt_bench.config.compose import compose
from lt_bench.config.keys import nearest
from lt_bench.config.own_files import own_folders
from lt_bench.config.schema import Config, Search, chooses_epoch
from lt_bench.config.stages import StageName
from lt_bench.data.content import looked_at_once
from lt_bench.errors import UsageError
from lt_bench.files import read_json
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import run_id

from ..planning.plan import expand
from ..planning.variants import Variants
from .space import Axis, space

SEARCH, TRIAL = "search.json", "trial.json"  # in the folders of a search and of its trials
SPACE = "search.space."
VALIDATION, BEST = "evaluation.split=validation", "evaluation.select=best_validation"
SEEDS = "seed='range(5)'"


@dataclass(frozen=True)
class PlannedSearch:
    """A search: the words of every trial, their validated config, what is searched, and the folder that holds it."""

    words: tuple[str, ...]
    config: Config
    axes: dict[str, Axis]
    identity: str

    @property
    def search(self) -> Search:
        """How it is searched."""
        return self.config.search

    @property
    def folder(self) -> Path:
        """The folder of its study and of its trials."""
        return Path(self.config.output_dir).expanduser().absolute() / "search" / self.identity

    @property
    def trials(self) -> list[Path]:
        """The folders of its trials."""
        return [self.folder / f"trial-{number:04d}" for number in range(self.search.trials)]

    @cached_property
    def prunes(self) -> bool:
        """Whether a trial may be stopped: it has a score after every epoch, and more of the metric is better."""
        scored = any(chooses_epoch(self.config, stage.training) for stage in StageName)
        return scored and self.search.prune_after_trials is not None and better(self.search.metric) == "higher"

    def written(self, code: dict[str, Any]) -> dict[str, Any]:
        """What the processes of its trials read."""
        return {
            "words": [word for word in self.words if not word.startswith("trust=")],
            "axes": {key: {"kind": type(axis).__name__, **axis._asdict()} for key, axis in self.axes.items()},
            "search": {**asdict(self.search), "space": {}},
            "prunes": self.prunes,
            "own_files": [str(folder) for folder in own_folders()],
            "code": code,
        }

    def final(self, chosen: Sequence[str]) -> str:
        """The command that trains a setting on all seeds, and evaluates it on the test images."""
        keys = {word.partition("=")[0] for word in chosen}
        kept = [word for word in self.words if word != VALIDATION and word.partition("=")[0] not in {*keys, "seed"}]
        return f"{as_called('python -m lt_bench')} -m {shlex.join([*kept, *chosen])} {SEEDS}"


def is_search(overrides: Sequence[str]) -> bool:
    """Whether words ask for a search."""
    return any(_key(word) == "search" or _key(word).startswith("search.") for word in overrides)


def epochs_of(config: Config) -> int:
    """The epochs of the stage that trains the classifier."""
    training = config.stage_two.train
    return config.train.epochs if training is None else training.epochs


def better(metric: str) -> str:
    """Whether more or less of a metric is better, as the table of metrics says."""
    from lt_bench.evaluation.metrics import METRICS

    return METRICS[metric].better


@looked_at_once()
def plan_search(overrides: Sequence[str]) -> PlannedSearch:
    """The search that words ask for, with the ends of its space validated; raises UsageError."""
    typed = _typed_space(overrides)
    of_search = [word for word in overrides if _key(word).startswith("search") and not _key(word).startswith(SPACE)]
    base = [word for word in overrides if not _key(word).startswith("search")]
    if not any(_key(word) == "search" for word in of_search):
        raise UsageError("search. says how to search, and nothing searches; add search=optuna")
    runs = expand(base)
    if len(runs) != 1:
        raise UsageError(
            f"a search is of one run, and {shlex.join(base)} names {len(runs)}; type one value of every key, or put "
            "the key into the space: search.space.method=ce,bcl"
        )
    words = _of_trials(runs[0])
    composed = compose([*words, *of_search])
    if composed.search.name == "none":
        raise UsageError("search=none searches nothing; write search=optuna, or leave search. out")
    config = validate(composed)
    _check(config.search)
    if config.launch.executor == "slurm" and config.launch.nodes * config.launch.gpus_per_node > 1:
        raise UsageError("a trial is one process; set launch.nodes=1 launch.gpus_per_node=1")
    axes = space({**{str(key): str(text) for key, text in config.search.space.items()}, **typed})
    validated = Variants()
    for key, axis in axes.items():
        if key in {_key(word) for word in words}:
            raise UsageError(f"{key} is typed and searched; leave out one of {key}= and {SPACE}{key}=")
        for text in axis.ends:
            try:
                validated([*words, f"{key}={text}"])
            except UsageError as error:
                raise UsageError(f"{error}\nin {SPACE}{key}, of which {text} is one value") from error
    if config.search.prune_after_epochs is None:
        config.search.prune_after_epochs = epochs_of(config) // 4
    known = {
        "run": run_id(config),
        "space": {key: repr(axis) for key, axis in axes.items()},
        **{key: value for key, value in asdict(config.search).items() if key not in ("trials", "space")},
    }
    identity = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
    return PlannedSearch(tuple(words), config, axes, identity)


def _typed_space(overrides: Sequence[str]) -> dict[str, str]:
    """The values that are typed for the keys of a space; raises UsageError for a key that is typed twice."""
    typed: dict[str, str] = {}
    for word in overrides:
        key = _key(word).removeprefix(SPACE).lstrip("+")
        if _key(word) == SPACE[:-1]:
            raise UsageError(f"{word}: a space is typed key by key, such as 'search.space.train.lr=log(0.001,0.3)'")
        if _key(word).startswith(SPACE):
            if key in typed:
                raise UsageError(f"{SPACE}{key}= is typed twice; leave out one of them")
            typed[key] = word.partition("=")[2]
    return typed


def _of_trials(words: Sequence[str]) -> list[str]:
    """The words of every trial: evaluated on validation images, which choose the epoch unless that is typed."""
    typed = {_key(word): word.partition("=")[2] for word in words}
    for key, refused in (("evaluation.split", "test"), ("evaluation.select", "best_test")):
        if typed.get(key) == refused:
            raise UsageError(f"{key}={refused}: a search never looks at test images; leave it out")
    kept = [word for word in words if word != VALIDATION]
    return [*kept, VALIDATION, *([] if "evaluation.select" in typed else [BEST])]


def _check(search: Search) -> None:
    """Raise UsageError for a metric that no record has, and where Optuna is not installed."""
    from lt_bench.evaluation.metrics import METRICS

    known = [name for name, one in METRICS.items() if one.recorded and one.better and not one.per_class]
    if search.metric not in known:
        raise UsageError(
            f"search.metric={search.metric} is no metric of a record{nearest(search.metric, known)}; search.metric= "
            f"takes {', '.join(known)}"
        )
    if find_spec("optuna") is None:
        raise UsageError("search=optuna: its package optuna is not installed; pip install 'lt_bench[search]'")


def is_trial(folder: Path) -> bool:
    """Whether a folder is that of a trial."""
    return (folder.parent / SEARCH).is_file()


def trial_of(folder: Path) -> dict[str, Any]:
    """What is known of a trial from its folder: words, run, state, score and epochs; empty before it has begun."""
    return read_json(folder / TRIAL)


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")
