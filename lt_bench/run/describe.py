"""The record of a finished stage: settings, circumstances and cost."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from lt_bench.config.schema import Config, node
from lt_bench.config.stages import StageName
from lt_bench.data.seen import wanted_input
from lt_bench.engine.distributed import Processes
from lt_bench.engine.schedules import rate_factor
from lt_bench.preflight.epochs import not_reached
from lt_bench.record.edited import recorded
from lt_bench.record.folder import environment
from lt_bench.record.identity import setting_id, stage_one_id, unseeded
from lt_bench.record.record import CHOSEN, RunRecord

NAMES = ("method.name", "dataset.name", "backbone.name", "stage_two.name")  # fields of their own in a record


class Circumstances(NamedTuple):
    """How a run is computed: its processes, the precision of its stages, and what it came from.

    ``provenance`` has the code that it was submitted with, images that are in two of its parts and, of stage two, the
    threads of its stage one.
    """

    processes: Processes
    precision: list[str]
    provenance: dict[str, Any]


def describe(
    config: Config,
    identity: str,
    stage: StageName,
    metrics: dict[str, Any],
    cost: dict[str, Any],
    circumstances: Circumstances,
    checkpoint: dict[str, Any] | None = None,
    chosen: dict[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> RunRecord:
    """The record of a finished stage: of stage two, that of the run; ``chosen`` are the epochs that were chosen."""
    device = circumstances.processes.device
    settings = {key: value for key, value in unseeded(config).items() if key not in NAMES}
    if "shot_seed" in config.stage_two.options:
        settings["stage_two.shot_seed"] = config.stage_two.options["shot_seed"]
    return RunRecord(
        kind=stage.kind,
        run_id=identity,
        stage_one_id=stage_one_id(config) if stage is StageName.TWO else None,
        setting_id=setting_id(config),
        method=config.method["name"],
        method_name=config.method["title"],
        dataset=config.dataset.name,
        imbalance_profile=config.imbalance.profile,
        imbalance_factor=config.imbalance.factor,
        backbone=config.backbone["name"],
        stage_two=config.stage_two.name,
        stage_two_name=config.stage_two.title,
        fidelity=config.fidelity,
        budget=config.budget.in_records,
        seed=config.seed,
        split_seed=config.split_seed,
        settings=settings,
        metrics=metrics,
        group_rule=config.dataset.group_rule,
        selection=config.evaluation.select,
        evaluated_on=config.evaluation.split,
        method_order=config.method.get("order"),
        stage_two_order=config.stage_two.order,
        epochs=_epochs(config) | ({CHOSEN: chosen} if chosen else {}),
        checkpoint=checkpoint,
        class_names=None if class_names is None else list(class_names),
        cost={**cost, "peak_memory_mb": _peak_memory_mb(device), "device": _device_name(device)},
        environment={
            **environment(),
            **recorded(config),
            **_network_input(config),
            **circumstances.provenance,
            **_computation(config, circumstances),
        },
    )


def _epochs(config: Config) -> dict[str, Any]:
    """How long the stages were, where that is not what recipe and budget say, and what that changed."""
    trainings = {stage: node(config, stage.training) for stage in StageName}
    typed = {
        stage.training: {"epochs": training.epochs, "recipe_epochs": training.recipe_epochs}
        for stage, training in trainings.items()
        if training is not None and training.recipe_epochs is not None
    }
    also = {"moved": {key: node(config, key) for key in config.budget.moved}, "not_reached": not_reached(config)}
    return {**typed, **{name: found for name, found in also.items() if found}}


def _network_input(config: Config) -> dict[str, Any]:
    """How images are given to a network that has its own say in that."""
    wanted = wanted_input(config)
    return {"network_input": wanted.recorded()} if wanted else {}


def _computation(config: Config, circumstances: Circumstances) -> dict[str, Any]:
    """How a run was computed, for its record; precision and rate of stage one, then of stage two."""
    trainings = [one for one in (config.train, config.stage_two.train) if one]
    return {
        **recorded(config),
        "threads": torch.get_num_threads(),
        "processes": circumstances.processes.world_size,
        "precision": circumstances.precision,
        "effective_lr": [one.lr * rate_factor(one.lr_scaling, one.batch_size, one.lr_base_batch) for one in trainings],
        "lr_scaling": [one.lr_scaling for one in trainings],
        "tf32": config.tf32,
        "deterministic": config.deterministic,
        "compile": config.compile,
        "cuda_graph": config.cuda_graph,
    }


def _peak_memory_mb(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated() // 2**20)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
