"""One run, readable in one sitting: stage one, stage two, evaluation, record."""

from __future__ import annotations

import resource
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from torch import nn

from lt_bench.compose import UsageError
from lt_bench.config import Config, Training
from lt_bench.contracts import Method, StageTwo, TrainInfo
from lt_bench.data.load import Data, Images, Labelled, load_data
from lt_bench.data.small import CachedFeatures, TrainSource
from lt_bench.data.split import check_manifest
from lt_bench.data.split_files import STAGE_ONE
from lt_bench.engine import checkpoint, distributed
from lt_bench.engine.context import EngineRun
from lt_bench.engine.interrupt import Interrupted
from lt_bench.engine.loop import Position, Stage, Trainer
from lt_bench.engine.memory import keep_freed_memory
from lt_bench.engine.metrics import NonFiniteLoss
from lt_bench.engine.precision import resolve, set_switches
from lt_bench.engine.predict import Scorer, classify, embed_plain
from lt_bench.engine.random import derived_seed
from lt_bench.engine.schedules import rate_factor
from lt_bench.evaluation.predictions import metrics_from_file, save_predictions
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.pool import build_encoder
from lt_bench.models.pretrained import freeze_convolutions, load_pretrained
from lt_bench.preflight import TARGETS, stage_two_training
from lt_bench.record.files import write_atomic, write_json
from lt_bench.record.folder import RunFolder, code_version, environment, finished
from lt_bench.record.record import RunRecord
from lt_bench.run_id import is_probe, probe_lists, run_id, setting_id, stage_one_id, unseeded


def execute(
    config: Config, only_stage_one: bool = False, submitted: Mapping[str, Any] | None = None
) -> tuple[RunRecord, Path]:
    """Carry out a run, or what is left of it; a finished run is only read.  Returns its record and its folder.

    ``only_stage_one`` stops before stage two, so that several stage-two rules find it done; ``submitted`` is the
    version of the code when the run was put into a queue, for the record. Such a run may have been taken by hand or by
    another sweep meanwhile: it is waited for, by all ranks, and then it is done, or goes on here.
    Raises UsageError, DataError, NonFiniteLoss, Interrupted.
    """
    try:
        processes = distributed.start(config.device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if processes.device.type == "cpu":
        keep_freed_memory()
    identity = stage_one_id(config) if only_stage_one else run_id(config)
    wait = None if submitted is None else _say_other_hands
    with RunFolder(config, identity, processes.rank == 0, wait) as folder:
        if done := _agreed(finished, config.output_dir, identity):
            if folder.writes:
                print(f"lt_bench: run {identity} was done before", file=sys.stderr)
            return done
        laboratory = Laboratory(config, processes, submitted)
        if only_stage_one:
            return laboratory.work_in(folder, laboratory.stage_one), folder.path
        return laboratory.work_in(folder, laboratory.both_stages), folder.path


class Laboratory:
    """A run's data and processes, and the stages as methods that leave their results in a run folder."""

    def __init__(
        self, config: Config, processes: distributed.Processes, submitted: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.processes = config, processes
        trainings = [config.train, stage_two_training(config)]
        set_switches(config.tf32, config.deterministic)
        self.provenance = (
            {"submitted_code": dict(submitted), "code_changed": submitted != code_version()} if submitted else {}
        )
        try:
            self.precision = [resolve(one.precision, processes.device) for one in trainings if one]
            self.data: Data = load_data(config, processes.device)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.held_out = self.data.validation if config.evaluation.split == "validation" else self.data.test

    def work_in(self, folder: RunFolder, work: Callable[[RunFolder], RunRecord]) -> RunRecord:
        """Do a stage's work with the folder's status and split manifest kept, and write its record."""
        manifest, facts = folder.path / "split.json", self._manifest(folder)
        if manifest.exists():
            try:
                check_manifest(manifest, facts)
            except ValueError as error:
                raise UsageError(f"{error}; delete {folder.path} to run anew on the data that is there now") from error
        elif folder.writes:
            write_json(manifest, facts)
        folder.status("running")
        try:
            record = work(folder)
        except (Interrupted, KeyboardInterrupt):
            folder.status("interrupted")
            raise
        except Exception as error:
            folder.status("failed", error=f"{type(error).__name__}: {error}")
            if folder.writes:
                write_atomic(folder.path / "trace.txt", traceback.format_exc())
            raise
        if folder.writes:
            write_json(folder.path / "record.json", record.to_dict())
        folder.status("done")
        distributed.barrier()
        return record

    def _manifest(self, folder: RunFolder) -> dict[str, Any]:
        """What identifies the split of a folder's work; of the lists, probes alone are given a probe's."""
        facts = dict(self.data.manifest)
        probe = is_probe(self.config) and folder.identity != stage_one_id(self.config)
        if "lists" in facts:
            named = (*STAGE_ONE, *(probe_lists(self.config) if probe else ()))
            facts["lists"] = {name: facts["lists"][name] for name in named if name in facts["lists"]}
        if not probe and "lists_sha256" in facts:
            facts["lists_sha256"] = {part: value for part, value in facts["lists_sha256"].items() if part != "probe"}
        return facts

    def both_stages(self, folder: RunFolder) -> RunRecord:
        """Stage one in its own folder, unless it is done, then stage two in this one."""
        self._new_rule(self._new_method())  # what it refuses is refused before hours of stage one
        identity = stage_one_id(self.config)
        with RunFolder(self.config, identity, folder.writes, wait=_say_waiting) as below:
            done = _agreed(finished, self.config.output_dir, identity)
            first = done[0] if done else self.work_in(below, self.stage_one)
        return self.stage_two(folder, below.path, first)

    def stage_one(self, folder: RunFolder) -> RunRecord:
        """Train the encoder (and classifier, if the method has one); the checkpoint holds them."""
        method = self._new_method()
        select = self.config.evaluation.select
        keeps = self.config.stage_two["name"] == "none" and select != "last"
        position = self._train(folder, method, self.data.train, self.config.train, "stage one", keeps)
        cost = {
            "seconds": round(position.seconds, 3),
            "images_per_second": round(position.images / max(position.seconds, 1e-9), 1),
        }
        return self._record(folder, "stage_one", {}, {**cost, **self._skipped(self.data.train)})

    def stage_two(self, folder: RunFolder, below: Path, first: RunRecord) -> RunRecord:
        """Fit the stage-two rule on the frozen encoder, save predictions, compute the metrics from them."""
        config = self.config
        stage_one = self._new_method()
        state = checkpoint.load(below / "checkpoint.pt", self.processes.device)
        stage_one.load_state_dict(state["position"]["best"].get("model", state["model"]))
        rule, method, labelled = self._new_rule(stage_one)
        training, seconds = stage_two_training(config), 0.0
        source: TrainSource = (images := labelled.images())
        images.skipped.zero_()  # counted anew, whether or not stage one was trained by this process
        run = self._engine_run("stage_two", source, method)
        if method.views == ("features",):
            source = run.source = CachedFeatures(run.embed(method.encoder, rule.train_view), labelled.labels)
        if training is not None:
            best = config.evaluation.select != "last"
            seconds = self._train(folder, method, source, training, "stage two", best).seconds
        features = embed_plain(method.encoder, self.held_out, config.evaluation.batch_size)
        logits = classify(rule.finish(method, run), features)
        if not bool(torch.isfinite(logits).all()):
            raise NonFiniteLoss(f"logits on the {config.evaluation.split} split are not finite; {NonFiniteLoss.advice}")
        predictions = folder.path / "predictions.npz"
        if folder.writes:
            save_predictions(
                predictions,
                logits.cpu().numpy(),
                self.held_out.labels.cpu().numpy(),
                self.data.train_counts,
                config.dataset.group_rule,
            )
        distributed.barrier()
        cost = {
            "seconds": round(seconds, 3),
            "stage_one_seconds": first.cost["seconds"],
            "images_per_second": first.cost["images_per_second"],
        }
        return self._record(folder, "run", dict(metrics_from_file(predictions)), {**cost, **self._skipped(images)})

    def _train(
        self, folder: RunFolder, method: Method, source: TrainSource, training: Training, name: str, best: bool
    ) -> Position:
        config = self.config
        stage = Stage(name, folder.path, "checkpoint.pt", config.budget, config.checkpoint, config.progress)
        run = self._engine_run(name, source, method)
        score = None
        if best:
            held_out = self.data.test if config.evaluation.select == "best_test" else self.data.validation
            score = Scorer(method, held_out, config.dataset.num_classes, config.evaluation.batch_size)
        schedule = _build(training.schedule, "train.schedule")
        try:
            trainer = Trainer(method, source, training, schedule, run, stage, score)
        except ValueError as error:
            raise UsageError(str(error)) from error
        try:
            position = trainer.fit()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            advice = "set a larger train.batch_size, or train.drop_last=true if it is the last batch"
            raise UsageError(f"batch norm cannot train on a batch of one image; {advice}") from error
        distributed.barrier()  # the last checkpoint is there for all before anyone goes on
        return position

    def _new_method(self) -> Method:
        config = self.config
        self._seed("stage_one")
        encoder = self._new_encoder()
        info = TrainInfo(self.data.train.labels, config.dataset.num_classes, config.train.epochs)
        method: Method = _build(config.method, "method", encoder, info)
        if config.compile:
            for part in method.modules():  # in place: the names in the state stay as they are
                if part is method.encoder or isinstance(part, MomentumEncoder):
                    part.compile()
        return method.to(self.processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _new_encoder(self) -> nn.Module:
        backbone = self.config.backbone
        encoder: nn.Module = _build(backbone, "backbone")
        pretrained, trainable = backbone.get("pretrained"), backbone.get("trainable_convolutions")
        try:
            if pretrained is not None:
                load_pretrained(encoder, pretrained, backbone["name"])
            if trainable is not None:
                freeze_convolutions(encoder, trainable)
        except ValueError as error:
            raise UsageError(f"backbone: {error}") from error
        return build_encoder(encoder, backbone.get("input_pool", 1))

    def _new_rule(self, stage_one: Method) -> tuple[StageTwo, Method, Labelled]:
        """The stage-two rule, its method on an encoder, and its images; initial weights are a function of the seed."""
        config = self.config
        self._seed("stage_two")
        rule: StageTwo = _build(config.stage_two, "stage_two")
        try:
            labelled = self.data.labelled(rule.train_split, rule.shots, rule.shot_seed)
            info = TrainInfo(labelled.labels, config.dataset.num_classes, config.train.epochs)
            method = rule.build(stage_one.evaluated_encoder(), stage_one.classifier, info)
        except ValueError as error:
            raise UsageError(f"stage_two: {error}") from error
        return rule, method.to(self.processes.device), labelled

    def _engine_run(self, stage: str, source: TrainSource, method: Method) -> EngineRun:
        seed = derived_seed(self.config.seed, stage)
        run = EngineRun(self.processes, seed, source, self.config.evaluation.batch_size)
        run.module = method
        return run

    def _skipped(self, images: Images) -> dict[str, int]:
        """How many images of a stage the processes found unreadable and did without, where that is allowed."""
        if self.config.dataset.on_bad_image == "stop" or not len(images.skipped):
            return {}
        return {"skipped_images": int(distributed.union(images.skipped).sum())}

    def _seed(self, stage: str) -> None:
        """The initial weights are a function of (seed, stage) alone."""
        torch.manual_seed(derived_seed(self.config.seed, "weights", *stage.encode()))

    def _record(self, folder: RunFolder, kind: str, metrics: dict[str, Any], cost: dict[str, Any]) -> RunRecord:
        config = self.config
        names = ("method.name", "dataset.name", "backbone.name", "stage_two.name")
        settings = {key: value for key, value in unseeded(config).items() if key not in names}
        if "shot_seed" in config.stage_two:
            settings["stage_two.shot_seed"] = config.stage_two["shot_seed"]
        return RunRecord(
            kind=kind,
            run_id=folder.identity,
            stage_one_id=stage_one_id(config) if kind == "run" else None,
            setting_id=setting_id(config),
            method=config.method["name"],
            method_name=config.method["title"],
            dataset=config.dataset.name,
            imbalance_profile=config.imbalance.profile,
            imbalance_factor=config.imbalance.factor,
            backbone=config.backbone["name"],
            stage_two=config.stage_two["name"],
            stage_two_name=config.stage_two["title"],
            fidelity=config.fidelity,
            budget=config.budget.name,
            seed=config.seed,
            split_seed=config.split_seed,
            settings=settings,
            metrics=metrics,
            group_rule=config.dataset.group_rule,
            selection=config.evaluation.select,
            evaluated_on=config.evaluation.split,
            cost={
                **cost,
                "peak_memory_mb": _peak_memory_mb(self.processes.device),
                "device": _device_name(self.processes.device),
            },
            environment={**environment(), **self.provenance, **self._how()},
        )

    def _how(self) -> dict[str, Any]:
        """What else a record says of how a run was computed; precision and rate of stage one, then of stage two."""
        config = self.config
        trainings = [one for one in (config.train, stage_two_training(config)) if one]
        return {
            "threads": torch.get_num_threads(),
            "processes": self.processes.world_size,
            "precision": self.precision,
            "effective_lr": [
                one.lr * rate_factor(one.lr_scaling, one.batch_size, one.lr_base_batch) for one in trainings
            ],
            "lr_scaling": [one.lr_scaling for one in trainings],
            "tf32": config.tf32,
            "deterministic": config.deterministic,
            "compile": config.compile,
        }


def _build(settings: dict[str, Any], key: str, *supplied: Any) -> Any:
    """The object that a config node describes, parts first; a constructor's complaints become a usage error."""
    beside = {*TARGETS.get(key, frozenset()), "_target_"}
    values = {
        name: _build(value, f"{key}.{name}") if f"{key}.{name}" in TARGETS and value is not None else value
        for name, value in settings.items()
        if name not in beside
    }
    try:
        return get_object(settings["_target_"])(*supplied, **values)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from error


def _agreed(read: Callable[..., Any], *words: Any) -> Any:
    """What all ranks read alike: after rank 0 has the lock, and before anyone writes."""
    distributed.barrier()
    found = read(*words)
    distributed.barrier()
    return found


def _say_other_hands(identity: str) -> None:
    print(f"lt_bench: waiting for another process that is working on run {identity}", file=sys.stderr)


def _say_waiting(identity: str) -> None:
    print(f"waiting for stage one {identity}, which another process is training", file=sys.stderr)


def _peak_memory_mb(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated() // 2**20)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
