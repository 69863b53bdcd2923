"""What a run says before it begins and after its end: what it will do, how long such runs took, what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lt_bench.command import LOADING
from lt_bench.config.compose import compose
from lt_bench.config.schema import Config, Training
from lt_bench.errors import UsageError
from lt_bench.launch.planning.estimate import expected_cost
from lt_bench.launch.planning.plan import planned
from lt_bench.preflight.task import task_of_method
from lt_bench.preflight.validate import validate
from lt_bench.record.folder import finished
from lt_bench.record.identity import identities
from lt_bench.record.record import PREDICTOR

SAME = ("dataset", "imbalance", "backbone", "budget", "seed", "split_seed", "output_dir", "data_dir", "device", "trust")
USUAL = Config.output_dir  # where a report looks by itself
BESIDE = ("ce", "balanced_softmax", "segmentation_ce", "region_rebalance")  # what is compared with


def greeting(config: Config, overrides: Sequence[str]) -> list[str]:
    """What a run will do and how long such runs took, in lines; none for a run that is done, or in no possible folder.

    Nothing is known of the time where no similar run is in the folder yet.
    """
    identity, stage_one = identities(config)
    if not _may_be(config.output_dir) or finished(config.output_dir, identity):
        return []
    cost = expected_cost([planned(overrides, config)], {stage_one: bool(finished(config.output_dir, stage_one))})
    factor = "native counts" if config.imbalance.factor is None else f"imbalance {config.imbalance.factor:g}"
    trained = {"stage one": config.train, "stage two": config.stage_two.train}
    stages = (f"{stage} {_epochs(training)}" for stage, training in trained.items() if training)
    what = f"{config.method['title']} on {config.dataset.title}, {factor}, seed {config.seed}"
    took = "how long it takes is known from the bar alone: no similar run is in this folder yet"
    if cost.records:
        took = f"about {_duration(3600 * cost.hours)} on {cost.device}, as earlier runs in this folder"
    return [f"{what}: {', '.join(stages)}; run {identity}", took, LOADING]


def next_steps(config: Config, overrides: Sequence[str]) -> list[str]:
    """Commands that a finished run suggests, in lines."""
    folder = Path(config.output_dir) / identities(config)[0]
    runs = "" if config.output_dir == USUAL else f" --runs {shlex.quote(config.output_dir)}"
    same = [word for word in overrides if _group(word) in SAME]
    trained = [word for word in overrides if _group(word) in (*SAME, "train")]
    found = {"tables of all runs": f"python -m lt_bench.report{runs}"}
    if (folder.expanduser() / PREDICTOR).exists():
        found["classes of new images"] = f"python -m lt_bench.predict {shlex.quote(str(folder))} IMAGES"
    fitting = (name for name in BESIDE if task_of_method(name) == config.dataset.task)
    names = [name for name in fitting if name != config.method["name"]]
    others = ([f"method={name}", *kept] for kept in (trained, same) for name in names)
    if (other := next(filter(_can_run, others), None)) is not None:
        found["another method beside it"] = shlex.join(["python", "-m", "lt_bench", *other])
    return [f"next, {what + ':':<26}{command}" for what, command in found.items()]


def _group(word: str) -> str:
    return word.partition("=")[0].partition(".")[0]


def _can_run(words: Sequence[str]) -> bool:
    """Whether a command can be typed: what one method is run with another may refuse, as a network of another kind."""
    try:
        validate(compose(words))
    except UsageError:
        return False
    return True


def _may_be(folder: str) -> bool:
    """Whether there is such a folder, or may be: where not, the run says why."""
    try:
        Path(folder).expanduser().stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _epochs(training: Training) -> str:
    return f"{training.epochs} epoch{'s' * (training.epochs != 1)}"


def _duration(seconds: float) -> str:
    """A time in the largest unit of which it is one or more."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 1):.0f} s"
