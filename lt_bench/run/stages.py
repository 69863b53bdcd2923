"""The stages of one run: stage one, stage two, evaluation, record."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lt_bench.command import keep_trace, printable
from lt_bench.config.schema import Config, Training, chooses_epoch
from lt_bench.config.stages import StageName
from lt_bench.contracts import Method
from lt_bench.data.batches.from_disk import DiskImages
from lt_bench.data.batches.in_memory import CachedFeatures
from lt_bench.data.batches.source import ImageSource
from lt_bench.data.content import changed_since, contents_of_files, knows_every_file
from lt_bench.data.load import Data, Images, load_data
from lt_bench.data.sources.image_lists import SHOWN
from lt_bench.data.splits.list_files import STAGE_ONE
from lt_bench.data.splits.split import check_manifest
from lt_bench.engine import checkpoint, distributed, threads
from lt_bench.engine.context import EngineContext
from lt_bench.engine.loop import Stage, Trainer, TrainState
from lt_bench.engine.precision import resolve, set_switches
from lt_bench.engine.random import derived_seed
from lt_bench.engine.shares import left_out_warning
from lt_bench.engine.trained import load_trained, parameter_counts
from lt_bench.errors import CheckpointError, DataError, Interrupted, keyed, one_line
from lt_bench.evaluation.features import FEATURES
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import load_predictions, save_predictions
from lt_bench.files import write_json
from lt_bench.machine import OthersWork, waiting
from lt_bench.record.curves import CURVES, Follow, together
from lt_bench.record.folder import EARLIER, RunFolder, code_version, finished
from lt_bench.record.identity import identities, is_probe, probe_lists, stage_one_id
from lt_bench.record.record import CHECKPOINT, CHOSEN, NOT_LOOKED_AT, PREDICTIONS, SAME_IMAGES, STOPPED, RunRecord
from lt_bench.run.build import build, new_method, new_rule, remark_on_random_weights, remark_on_weights
from lt_bench.run.describe import Circumstances, describe
from lt_bench.run.experts import evaluated, routing_cost
from lt_bench.run.tasks import TASKS
from lt_bench.trackers.following import Trackers


class Runner:
    """A run's data and processes; its stages are methods that write their results into a run folder."""

    def __init__(
        self,
        config: Config,
        processes: distributed.Processes,
        others: OthersWork | None = None,
        submitted: Mapping[str, Any] | None = None,
        watch: Follow | None = None,
    ) -> None:
        self.config, self.processes, self.device = config, processes, processes.device
        self.others, self.watch = others or OthersWork(), watch
        trainings = {StageName.ONE.training: config.train, StageName.TWO.training: config.stage_two.train}
        set_switches(config.tf32, config.deterministic)
        code = {"submitted_code": dict(submitted), "code_changed": submitted != code_version()} if submitted else {}
        self._identity: str | None = None  # of what is carried out
        self._threads_said: int | None = None
        self._asked: threads.Asked | None = None  # threads of a stage two whose run was begun before
        precision = [self._precision(key, training) for key, training in trainings.items() if training]
        self.circumstances = Circumstances(processes, precision, code)
        self.left_out: dict[StageName, int] = {}  # images that several processes leave out of an epoch
        self.trackers: Trackers | None = None
        self.chosen: dict[str, Any] = {}  # the epoch that a stage's weights are of, where it is not the last

    @cached_property
    def data(self) -> Data:
        """The run's data, read when a stage asks for them: what is wrong with them is the stage's failure."""
        data = load_data(self.config, self.device)
        said = [
            *(f"note: {one}" for one in (*data.remarks, *data.not_looked_at, *remark_on_random_weights(self.config))),
            *(f"warning: {one}" for one in data.same_images),
        ]
        for remark in said if self.processes.rank == 0 else ():
            print(f"lt_bench: {printable(remark)}", file=sys.stderr)
        known = {SAME_IMAGES: data.same_images, NOT_LOOKED_AT: data.not_looked_at}
        self.circumstances.provenance.update({key: list(said) for key, said in known.items() if said})
        evaluation = self.config.evaluation
        chosen_on = evaluation.selection(len(data.validation.labels)).removeprefix("best_")
        parts = sorted({evaluation.split, chosen_on} - {"last"})
        evaluated = {part: data.validation if part == "validation" else data.test for part in parts}
        self._read_first(evaluated, "what is evaluated on is never left out")
        self._read_trained_on(data.train)
        return data

    @property
    def selection(self) -> str:
        """How the epoch is chosen, see ``Evaluation.selection``."""
        return self.config.evaluation.selection(len(self.data.validation.labels))

    def _read_trained_on(self, images: Images) -> None:
        """Read what a stage may draw, where a broken image stops a run and every file was read for its identity.

        A run that draws a few of them would not meet it, and one that draws all would meet it late.
        """
        known = self.config.dataset.on_bad_image == "stop" and knows_every_file(self.config)
        if known and isinstance(images, DiskImages):
            self._read_first({"training": images}, images.choice and f"or {images.choice}")

    def _read_first(self, parts: Mapping[str, Images], choice: str) -> None:
        """Read images once, before anything is trained; DataError names those that cannot be read."""
        problems, known = list[str](), contents_of_files(self.config)
        for part, images in parts.items():
            if isinstance(images, DiskImages) and self.processes.rank == 0:
                problems += images.unreadable(known, f"reading {part} images", self.config.progress)
        if distributed.from_rank0(len(problems), self.device):
            more = [f"and {len(problems) - SHOWN} more"] if problems[SHOWN:] else []
            advice = (
                "images are read before training: mend these or take them away"
                f"{choice and f', {choice}'}; "
                "python -m lt_bench.data check, with the same overrides, finds every problem"
            )
            raise DataError("\n".join([*problems[:SHOWN], *more, advice]))

    def close(self) -> None:
        """End the processes that read training images, which a later run in this process has nothing to do with."""
        data = self.__dict__.get("data")
        if data is not None and isinstance(data.train, DiskImages):
            data.train.close()

    def _precision(self, key: str, training: Training) -> str:
        with keyed(key):
            return resolve(training.precision, self.device)

    def followed(self, folder: RunFolder, only_stage_one: bool) -> Trackers:
        """The trackers of the run in a folder, which follow its training from now on."""
        stage = StageName.ONE if only_stage_one else StageName.TWO

        def known() -> RunRecord:
            return describe(self.config, folder.identity, stage, {}, {}, self.circumstances)

        self.trackers = Trackers(self.config, folder.path, known, folder.writes)
        return self.trackers

    def run_stage(self, folder: RunFolder, work: Callable[[RunFolder], RunRecord]) -> RunRecord:
        """Do a stage's work with the folder's status and split manifest kept, and write its record."""
        folder.status("running")
        self._identity = folder.identity
        try:
            manifest, facts = folder.path / "split.json", self._manifest(folder)
            if manifest.exists():
                check_manifest(manifest, facts)
            elif folder.writes:
                write_json(manifest, facts)
            record = work(folder)
            if folder.writes and changed_since(self.config):
                for path in folder.path.glob("checkpoint*"):  # nothing goes on from what was trained on both
                    path.unlink()
                raise DataError("images changed while the run was reading them; start it again, it is another run now")
        except (Interrupted, KeyboardInterrupt):
            with suppress(OSError):  # the disk may be full: what is raised says more
                folder.status("interrupted")
            raise
        except Exception as error:
            with suppress(OSError):
                folder.status("failed", error=f"{type(error).__name__}: {error}")
                if folder.writes:
                    keep_trace(error, folder.path / "trace.txt")
            raise
        if folder.writes:
            write_json(folder.path / "record.json", record.to_dict())
            checkpoint.forget_previous(folder.path / CHECKPOINT)
        folder.status("done")
        distributed.barrier()
        return record

    def _manifest(self, folder: RunFolder) -> dict[str, Any]:
        """The manifest of the split of a run or a stage one; only that of a probe includes the probe lists."""
        facts = dict(self.data.manifest)
        probe = is_probe(self.config) and folder.identity != stage_one_id(self.config)
        if "lists" in facts:
            named = (*STAGE_ONE, *(probe_lists(self.config) if probe else ()))
            facts["lists"] = {name: facts["lists"][name] for name in named if name in facts["lists"]}
        for key in {"lists_sha256", "content"} & facts.keys() if not probe else ():
            facts[key] = {part: value for part, value in facts[key].items() if part != "probe"}
        return facts

    def both_stages(self, folder: RunFolder) -> RunRecord:
        """Stage one in its own folder, unless it is done, then stage two in this one."""
        # an impossible rule is refused before stage one is trained
        *_, for_stage_two = new_rule(self.config, self.data, self.device, self._new_method())
        if isinstance(self.data.train, DiskImages) and (images := for_stage_two.images()) is not self.data.train:
            self._read_trained_on(images)
        identity = stage_one_id(self.config)
        with RunFolder(self.config, identity, folder.writes, wait=_print_waiting) as stage_one_folder:
            done = distributed.agreed(finished, self.config.output_dir, identity)
            goes_on = bool(done) or any(stage_one_folder.path.glob("checkpoint*.pt"))
            self._asked = self._asked_first(folder, goes_on)
            first = done[0] if done else self.run_stage(stage_one_folder, self.stage_one)
        return self.stage_two(folder, stage_one_folder.path, first)

    def stage_one(self, folder: RunFolder) -> RunRecord:
        """Train the encoder (and classifier, if the method has one); the checkpoint holds them."""
        method = self._new_method()
        training = self.config.train
        self._set_threads(folder, StageName.ONE, method, training, len(method.views))
        trained = self._train(folder, method, self.data.train, training, StageName.ONE)
        self.others = OthersWork()  # from now on: processes that read images for this stage are no others
        cost = {
            "seconds": round(trained.seconds, 3),
            "images_per_second": round(trained.images / max(trained.seconds, 1e-9), 1),
        }
        missed = self._missed(StageName.ONE, self.data.train)
        return self._describe(folder, StageName.ONE, {}, {**cost, **missed}, trained.epoch)

    def stage_two(self, folder: RunFolder, stage_one_folder: Path, first: RunRecord) -> RunRecord:
        """Fit the stage-two rule on the frozen encoder, save predictions, compute the metrics from them."""
        config = self.config
        stage_one = self._new_method()
        weights = checkpoint.load_recorded(stage_one_folder, first, config.train.epochs, self.device)
        try:
            load_trained(stage_one, weights)
        except (RuntimeError, TypeError, AttributeError) as error:  # other names and shapes, or none
            if isinstance(error, torch.OutOfMemoryError):
                raise
            what = f"{stage_one_folder / CHECKPOINT} does not fit this run ({one_line(error)})"
            raise CheckpointError(f"{what}; delete {stage_one_folder} to train stage one anew") from error
        rule, method, for_stage_two = new_rule(config, self.data, self.device, stage_one)
        training, seconds, epochs = config.stage_two.train, 0.0, 0
        self._set_threads(folder, StageName.TWO, stage_one, training or config.train)
        self._follow(stage_one_folder)
        source: ImageSource = (images := for_stage_two.images())
        images.skipped.zero_()  # counted anew, whether or not stage one was trained by this process
        context = self._context(StageName.TWO.key, source, method)  # its stream is not that of the training
        if method.views == ("features",):
            source = context.source = CachedFeatures(
                context.embed(method.encoder, rule.train_view), for_stage_two.labels
            )
        if training is not None:
            trained = self._train(folder, method, source, training, StageName.TWO)
            seconds, epochs = trained.seconds, trained.epoch
        predictions = folder.path / PREDICTIONS
        classifier = rule.finish(method, context)
        chosen = evaluated(config, self.data, self.processes, method.encoder, classifier)
        networks = method.encoder, chosen.classifier
        task = TASKS[config.dataset.task]
        made = task.predicted(config, self.data, networks, folder.path / FEATURES if folder.writes else None)
        made = replace(made, expert_weights=chosen.weights)
        self.circumstances.provenance.update(chosen.recorded(config))
        if folder.writes:
            task.keep_predictor(config, self.data, networks, folder, made)
            save_predictions(predictions, made)
        distributed.barrier()
        below = {
            "seconds": "stage_one_seconds",
            "images_per_second": "images_per_second",
            "left_out_images": "stage_one_left_out_images",
        }
        cost = {"seconds": round(seconds, 3), **{to: first.cost[key] for key, to in below.items() if key in first.cost}}
        self.circumstances.provenance["stage_one_threads"] = first.environment.get("threads")
        self.chosen = {**first.epochs.get(CHOSEN, {}), **self.chosen}
        cost |= self._missed(StageName.TWO, images) | routing_cost(config, self.data, *networks)
        metrics = evaluate(load_predictions(predictions))
        return self._describe(folder, StageName.TWO, metrics, cost, epochs)

    def _train(
        self, folder: RunFolder, method: Method, source: ImageSource, training: Training, name: StageName
    ) -> TrainState:
        config = self.config
        key = name.training
        follow = self._follow(folder.path)
        stage = Stage(
            name.value, folder.path, CHECKPOINT, config.budget, config.checkpoint, config.progress, key, follow
        )
        stage = stage._replace(cuda_graph=config.cuda_graph)
        context = self._context(name.value, source, method)
        score = None
        if chooses_epoch(config, key) and self.selection != "last":
            held_out = self.data.test if self.selection == "best_test" else self.data.validation
            scorer = TASKS[config.dataset.task].scorer
            score = scorer(method, held_out, self.data.num_classes, config.evaluation.batch_size)
        schedule = build(training.schedule, f"{key}.schedule")
        with keyed(key):
            trainer = Trainer(method, source, training, schedule, context, stage, score)
        if missing := trainer.left_out:
            self.left_out[name] = missing
            if folder.writes:
                words = left_out_warning(missing, len(trainer.order), training, key, self.processes.world_size)
                print(f"lt_bench: {name.value}: {words}", file=sys.stderr)
        trained = trainer.fit()
        if found := trained.best:
            on = "test" if self.selection == "best_test" else "validation"
            stopped = {STOPPED: trained.epoch} if trainer.stopped_early else {}
            self.chosen[key] = {"epoch": found["epoch"], "score": found["score"], "on": on, **stopped}
            if stopped and folder.writes:
                print(f"{name.value}: stopped after epoch {trained.epoch} of {training.epochs} (patience)")
        distributed.barrier()  # no rank goes on before the last checkpoint is written
        return trained

    def _follow(self, *folders: Path) -> Follow | None:
        """Let trackers know the epochs in some folders; what tells them, and the watch, each further one.

        Their processes start here, after the threads of a stage are chosen: the cores that they take are not free.
        """
        if self.trackers is not None:
            for folder in folders:
                self.trackers.curves(folder / CURVES)
        return together(None if self.trackers is None else self.trackers.epoch, self.watch)

    def _set_threads(
        self, folder: RunFolder, name: StageName, method: Method, training: Training, views: int = 1
    ) -> None:
        """Compute a stage with the threads that its network is worth, the same on all ranks, and say so."""
        images = views * min(training.batch_size, training.microbatch or training.batch_size)
        chosen = torch.get_num_threads()
        if self.processes.rank == 0:
            kept = checkpoint.threads(folder.path / CHECKPOINT)
            images //= self.processes.world_size
            asked = self._asked if name is StageName.TWO else None
            chosen, why = threads.choose(self.config, method.encoder, images, self.device, self.others, kept, asked)
            if chosen != self._threads_said:
                print(f"{name.value}: threads {chosen} ({why}); {waiting()}")
                self._threads_said = chosen
        torch.set_num_threads(distributed.from_rank0(chosen, self.device))

    def _asked_first(self, folder: RunFolder, goes_on: bool) -> threads.Asked | None:
        """The threads that were asked for when the run began, where it was killed and goes on; None where it begins."""
        now = threads.asked_for(self.config)
        first = folder.begun_with("threads_asked", now.number, goes_on)
        return None if first == now.number else threads.Asked(first, "as this run was started with")

    def _context(self, stream: str, source: ImageSource, method: Method) -> EngineContext:
        seed = derived_seed(self.config.seed, stream)
        context = EngineContext(self.processes, seed, source, self.config.evaluation.batch_size, self.config.progress)
        context.module = method
        return context

    def _new_method(self) -> Method:
        """A method with its initial weights; what those of a file are is said once, and stands in the records."""
        method, loaded = new_method(self.config, self.data, self.device)
        self.circumstances.provenance.update(parameter_counts(method))
        if loaded and self._identity and self._identity not in identities(self.config):
            raise DataError("the file of weights changed before it was read; start it again, it is another run now")
        if loaded and "weights" not in self.circumstances.provenance:
            self.circumstances.provenance["weights"] = loaded.recorded()
            if self.processes.rank == 0:
                print(f"lt_bench: note: {printable(remark_on_weights(self.config, loaded))}", file=sys.stderr)
        return method

    def _describe(
        self, folder: RunFolder, stage: StageName, metrics: dict[str, Any], cost: dict[str, Any], epochs: int
    ) -> RunRecord:
        """The record of a stage after some epochs of training, none where nothing was trained."""
        kept = {"sha256": checkpoint.digest(folder.path / CHECKPOINT), "epoch": epochs} if epochs else None
        circumstances = self.circumstances
        if earlier := folder.earlier_versions():
            circumstances = circumstances._replace(provenance={**circumstances.provenance, EARLIER: earlier})
        names = self.data.class_names
        found = describe(self.config, folder.identity, stage, metrics, cost, circumstances, kept, self.chosen, names)
        return replace(found, selection=self.selection)

    def _missed(self, name: StageName, images: Images) -> dict[str, int]:
        """Images that a stage did not train on: not readable, where that is allowed, or left out of every epoch."""
        missed = {"left_out_images": self.left_out[name]} if name in self.left_out else {}
        if self.config.dataset.on_bad_image == "stop" or not len(images.skipped):
            return missed
        return {**missed, "skipped_images": int(distributed.union(images.skipped).sum())}


def _print_waiting(identity: str) -> None:
    print(f"waiting for stage one {identity}, which another process is training", file=sys.stderr)
