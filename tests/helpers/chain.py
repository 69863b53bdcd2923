"""Runs of the whole chain in this process, for tests: tiny configs, and runs that are killed after some steps."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import get_object
from torch import nn

from lt_bench.config.compose import compose, groups, target_of
from lt_bench.config.schema import Config
from lt_bench.config.signatures import parameters
from lt_bench.engine.loop import Trainer
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.models.experts import ExpertHeads
from lt_bench.models.heads import NormalizedLinear
from lt_bench.preflight.validate import validate
from lt_bench.record.curves import CURVES, read_curves
from lt_bench.record.record import RunRecord
from lt_bench.run.execute import execute

# A few epochs of two steps; SBCL warms up for one epoch and clusters in each of the others.
TINY = ("budget.epoch_scale=0.02", "budget.max_steps_per_epoch=2", "budget.name=smoke", "progress=false")


def tiny(output_dir: Path, *words: str) -> Config:
    """The validated config of a run that takes seconds."""
    return validate(compose([*TINY, f"output_dir={output_dir}", *words]))


@cache
def class_of(group: str, name: str) -> Any:
    """The class of a method or of a stage-two rule in conf/."""
    return get_object(target_of(group, name))


def can_be(method: str, rule: str) -> bool:
    """Whether a method and a stage-two rule go together, by what their classes say."""
    trained, fitted = class_of("method", method), class_of("stage_two", rule)
    has_one = trained.provides_classifier or not fitted.uses_classifier
    normalized = trained.normalized_classifier or not fitted.needs_normalized_classifier
    if fitted.needs_experts and "experts" not in trained.requires:
        return False
    return has_one and normalized and (trained.linear_classifier or not fitted.needs_linear_classifier)


@cache
def method_for(rule: str) -> str:
    """A method that a stage-two rule can follow: CE, unless it needs another classifier."""
    return next(method for method in ("ce", "ldam_drw", "ride") if can_be(method, rule))


def classifier_for(rule: str, features: int, classes: int) -> nn.Module:
    """A classifier of stage one that a stage-two rule can go on from, untrained."""
    if class_of("stage_two", rule).needs_experts:
        return ExpertHeads(nn.Linear(features // 2, classes), 2)
    normalized = class_of("stage_two", rule).needs_normalized_classifier
    return NormalizedLinear(features, classes) if normalized else nn.Linear(features, classes)


def of_method(config: Config, *names: str) -> list[Any]:
    """Parameters of a method: as the config gives them, or else the defaults of its class."""
    known = parameters(config.method["_target_"])
    return [config.method.get(name, known[name].default) for name in names]


def rules_of(method: str) -> list[str]:
    """The stage-two rules in conf/ that a method can have."""
    return [rule for rule in groups()["stage_two"] if can_be(method, rule)]


@cache
def trained_rules() -> list[str]:
    """The stage-two rules in conf/ that are trained."""
    configs = {
        rule: validate(compose([f"method={method_for(rule)}", f"stage_two={rule}"])) for rule in groups()["stage_two"]
    }
    return [rule for rule, config in configs.items() if config.stage_two.train is not None]


class Killed(BaseException):
    """Stands for kill -9, with the name of the stage that was killed: nothing of the engine may catch it."""


def kill_after(monkeypatch: Any, steps: int) -> None:
    """Let every attempt take ``steps`` steps and then die, before the last of them can be saved."""
    taken = 0
    step = Trainer._step

    def counted(self: Trainer, *words: Any) -> dict[str, torch.Tensor]:
        nonlocal taken
        terms = step(self, *words)
        taken += 1
        if taken == steps:
            raise Killed(self.stage.name)
        return terms

    monkeypatch.setattr(Trainer, "_step", counted)


def killed_until_done(config: Config, monkeypatch: Any, steps: int = 3) -> tuple[list[str], tuple[RunRecord, Path]]:
    """Start a run anew whenever it has been killed after some steps: the stages that were killed, and how it ends."""
    killed: list[str] = []
    while True:
        with monkeypatch.context() as patch:
            kill_after(patch, steps)
            try:
                return killed, execute(config)
            except Killed as kill:
                killed += kill.args


def resumed_in_its_last_epoch(monkeypatch: Any, folder: Path, *words: str) -> dict[str, Any]:
    """The results of a run of two steps an epoch, which are those of one that is killed inside its last epoch."""
    words = (*words, "checkpoint.every_steps=1")
    undisturbed = results(*execute(tiny(folder / "undisturbed", *words)))
    epoch, _ = undisturbed["stage one"]["position"]
    with monkeypatch.context() as patch:
        kill_after(patch, 2 * epoch - 1)
        with pytest.raises(Killed):
            execute(tiny(folder / "killed", *words))
    assert_identical(results(*execute(tiny(folder / "killed", *words))), undisturbed)
    return undisturbed


def curves(record: RunRecord, folder: Path) -> list[dict[str, Any]]:
    """The epochs of both stages less what the clock said."""
    assert record.stage_one_id
    rows = [row for path in (folder.parent / record.stage_one_id, folder) for row in read_curves(path / CURVES)]
    return [{key: row[key] for key in row.keys() - {"seconds", "images_per_second"}} for row in rows]


def results(record: RunRecord, folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions: record, predictions, curves and the weights of both stages."""
    assert record.stage_one_id
    below = folder.parent / record.stage_one_id
    found: dict[str, Any] = {
        "record": record.identity_values(),
        "predictions": load_predictions(folder / "predictions.npz").logits,
        "curves": curves(record, folder),
    }
    for name, path in (("stage one", below), ("stage two", folder)):
        if (path / "checkpoint.pt").exists():
            state = torch.load(path / "checkpoint.pt", weights_only=True)
            found[name] = {**state["model"], "position": (state["position"]["epoch"], state["position"]["step"])}
    return found


def assert_identical(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Bit for bit."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, right[name]), name
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, right[name])
        elif name.startswith("stage"):
            assert_identical(value, right[name])
        else:
            assert value == right[name], name
