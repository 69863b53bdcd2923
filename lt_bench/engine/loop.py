"""The training loop: one for stage one and stage two, resumable after any step."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lt_bench.augment.views import in_epoch
from lt_bench.config.schema import Budget, Checkpoint, Training
from lt_bench.contracts import Batch, Method, Schedule
from lt_bench.data.batches.source import ImageSource
from lt_bench.engine import checkpoint, distributed
from lt_bench.engine.context import EngineContext
from lt_bench.engine.ema import WeightAverage
from lt_bench.engine.interrupt import StopRequest
from lt_bench.engine.lone_image import lone_image, refuse_single_values
from lt_bench.engine.metrics import RunningMeans
from lt_bench.engine.microbatches import passes
from lt_bench.engine.optimizer import build_optimizer
from lt_bench.engine.order import EpochOrder
from lt_bench.engine.parameter_groups import parameter_groups
from lt_bench.engine.partners import with_partners
from lt_bench.engine.precision import Precision, resolve
from lt_bench.engine.progress import Progress
from lt_bench.engine.recorded import Rates, RecordedStep, make_recordable, require_recordable
from lt_bench.engine.schedules import rate_factor
from lt_bench.engine.shares import count_steps, left_out, shares_of_rank
from lt_bench.engine.startup import bare_step
from lt_bench.engine.trained import load_trained, trained_state
from lt_bench.engine.weighted import WeightedOrder
from lt_bench.errors import CheckpointError, Interrupted, one_line
from lt_bench.record.curves import CURVES, SCORE, CurvesFile, Follow

# Buffers (queues, subclasses, batch-norm statistics) are kept by the method; PyTorch renamed the switch in 2.14.
_RENAMED = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
_KEEP_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}
LOG_EVERY_STEPS = 50  # how often the loss is read (and checked) inside an epoch


class Stage(NamedTuple):
    """A stage of training: its name, the folder of its files, and how often it is saved."""

    name: str
    folder: Path
    checkpoint_name: str
    budget: Budget
    intervals: Checkpoint
    progress: bool
    key: str = "train"  # of the training's settings in a config
    follow: Follow | None = None  # is told every epoch as it stands in the curves
    cuda_graph: bool = False

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's path."""
        return self.folder / self.checkpoint_name


@dataclass
class TrainState:
    """The state of training: the next step, the cost so far, that of this epoch, and the best epoch so far."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    images: int = 0
    epoch_seconds: float = 0.0
    epoch_images: int = 0
    best: dict[str, Any] = field(default_factory=dict)


class Trainer:
    """Trains a method on a source of batches; every random number is a function of (seed, stream, epoch, step).

    ``schedule`` makes the schedule of a segment from the number of its epochs; segments begin at ``restart_epochs``.
    ``score`` is read after every epoch where the best epoch is wanted instead of the last.
    Raises SettingError for values of ``training`` that these images and this method cannot be trained with.
    """

    def __init__(
        self,
        method: Method,
        source: ImageSource,
        training: Training,
        schedule: Schedule,
        context: EngineContext,
        stage: Stage,
        score: Callable[[], float] | None = None,
    ) -> None:
        self.method, self.source, self.training, self.schedule = method, source, training, schedule
        self.context, self.stage, self.score = context, stage, score
        self.order = EpochOrder(source.labels, training.sampler, context)
        exponent = method.partner_exponent
        self.partners = None if exponent is None else WeightedOrder(source.labels, exponent, context, "partner")
        images, share, limit = len(self.order), method.smallest_share, stage.budget.max_steps_per_epoch
        self.steps_per_epoch = count_steps(images, training, share * context.world_size, limit)
        self.left_out = left_out(images, training, share, context.world_size, limit)
        self.restarts = sorted({0, *method.restart_epochs()})
        self.state = TrainState()
        self.means = RunningMeans(context.device)
        self.curves = CurvesFile(stage.folder / CURVES, stage.name, context.rank == 0, stage.follow)
        context.module, context.source = method, source
        self.network: nn.Module = method
        if context.world_size > 1:
            from lt_bench.models.sync_batch_norm import synchronise  # imports the compiler, seconds of start-up

            synchronise(method, method.replicated)
            self.network = DistributedDataParallel(method, **_KEEP_BUFFERS)
        if lone := lone_image(training, len(self.order), context.world_size):
            refuse_single_values(method, lone.under(stage.key))
        self.groups = parameter_groups(method, training)
        self.optimizer = self._new_optimizer()
        self.average = None if training.ema_decay is None else WeightAverage(method, training.ema_decay)
        self.precision = Precision(resolve(training.precision, context.device), context.device)
        self.recorded = self._new_recorded()
        self.rates = Rates(len(self.groups), context.device, stage.cuda_graph)
        self.rate_factor = rate_factor(training.lr_scaling, training.batch_size, training.lr_base_batch)
        self._mark = time.perf_counter()

    def fit(self) -> TrainState:
        """Train to the last epoch, from the checkpoint if there is one; raises NonFiniteLoss, Interrupted.

        Afterwards the method holds the weights of the last epoch, averaged where an average is kept, or of the best
        one where a score was given.
        """
        state, warning = checkpoint.load_last_good(self.stage.checkpoint, self.context.device)
        if warning:
            distributed.barrier()  # all ranks have read it
            if self.context.rank == 0:
                print(f"lt_bench: {warning}", file=sys.stderr)
                checkpoint.reinstate_previous(self.stage.checkpoint)
        if state is not None:
            self._restore(state)
        total, first = self.training.epochs * self.steps_per_epoch, self.state
        self.curves.begin(first.epoch)
        progress = Progress(
            self.stage.name,
            self.training.epochs,
            total,
            first.epoch * self.steps_per_epoch + first.step,
            self.stage.progress and self.context.rank == 0,
        )
        with StopRequest() as stop, progress:
            while not self.ended:
                values = self._epoch(stop, progress)
                self.curves.write(self.state.epoch, {**values, **self._score_epoch()})
                self._finish_epoch(stop)
            # a signal while the last checkpoint was written: the next stage would not see it
            if stop.agreed(self.context):
                raise Interrupted(stop.reason)
        if self.state.best:
            load_trained(self.method, self.state.best["model"])
        elif self.average is not None:
            self.average.apply()
        return self.state

    @property
    def stopped_early(self) -> bool:
        """Whether so many epochs as ``patience`` allows brought no better score; what a checkpoint holds decides."""
        best, patience = self.state.best, self.training.patience
        waited = self.state.epoch - 1 - best["epoch"] if best else 0
        return patience is not None and waited >= patience and self.state.epoch < self.training.epochs

    @property
    def ended(self) -> bool:
        """Whether no epoch is left to train."""
        return self.state.epoch >= self.training.epochs or self.stopped_early

    def _epoch(self, stop: StopRequest, progress: Progress) -> dict[str, float]:
        """The (remaining) steps of an epoch; its mean terms, learning rate, seconds and images per second."""
        self._mark = time.perf_counter()
        epoch = self.context.epoch = self.state.epoch
        progress.epoch(epoch)
        self.method.train()
        if self.state.step == 0:
            if epoch in self.restarts[1:]:
                self.optimizer = self._new_optimizer()
                self.recorded = self._new_recorded()
            if epoch == 0 and self.method.start is not None:
                self.method.start(self.method, self.context, self.source.labels)
            self.method.on_epoch_start(epoch, self.context)
        segment = epoch - max(restart for restart in self.restarts if restart <= epoch)
        for batch in self.batches(epoch):
            step = self.state.step
            lr = self.rate_factor * self.schedule(segment, step, self.steps_per_epoch)
            self.means.add(self._step(batch, epoch, step, lr), step)
            self.state.step += 1
            progress.advance()
            if self.state.step % LOG_EVERY_STEPS == 0:
                self.means.check(epoch)
                progress.show(self.means.means(), lr)
            self._after_step(stop)
        self.means.check(epoch)
        values = self.means.means()
        progress.show(values, lr)
        self._count_seconds()
        seconds, images = self.state.epoch_seconds, self.state.epoch_images
        speed = round(images / max(seconds, 1e-9), 1)
        return {**values, "lr": lr, "seconds": round(seconds, 3), "images_per_second": speed}

    def batches(self, epoch: int) -> Iterator[Batch]:
        """This rank's batches of an epoch from the present step on."""
        strength, order = self.method.strength(), self.order(epoch)
        steps, ranks = self.steps_per_epoch, (self.context.rank, self.context.world_size)
        shares = shares_of_rank(len(order), self.training.batch_size, steps, *ranks)
        draws, first = partial(self.context.generator, "augment", epoch), self.state.step
        views = [in_epoch(view, epoch, self.training.epochs) for view in self.method.views]
        if self.partners is None:
            return self.source.batches(order, shares, views, draws, strength, first)
        generators = draws, partial(self.context.generator, "augment partner", epoch)
        orders = order, self.partners(epoch, len(order))
        needed = partial(self.method.needs_partner, epoch, context=self.context)
        return with_partners(self.source, orders, shares, views, generators, needed, first)

    def _step(self, batch: Batch, epoch: int, step: int, lr: float) -> dict[str, Tensor]:
        self.rates.set(self.optimizer, [own.lr_factor * lr for own in self.groups])
        batch = self.method.mixed(batch, epoch, step, self.context)
        if self.recorded is None:
            terms = self._update(batch, epoch, step)
        else:
            terms = self.recorded(batch, self.method.phase(epoch), epoch, step)
        if self.average is not None:
            self.average.update(epoch * self.steps_per_epoch + step)
        images = len(batch.labels) * self.context.world_size
        self.state.images += images
        self.state.epoch_images += images
        return terms

    def _update(self, batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        """New weights from a batch, and its mean terms."""
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._add_gradients(batch, epoch, step)
        if self.training.clip_norm is not None:
            terms["gradient_norm"] = self.precision.clip(self.optimizer, self.training.clip_norm)
        self.precision.step(self.optimizer)
        return terms

    def _add_gradients(self, batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        """The mean terms of a batch, taken in one pass or in micro-batches; their gradients are added up."""
        totals: dict[str, Tensor] = {}
        parts = passes(batch, self.training, self.context.world_size)
        for number, (part, weight) in enumerate(parts, start=1):
            waits = isinstance(self.network, DistributedDataParallel) and number < len(parts)
            with self.network.no_sync() if waits else nullcontext():  # type: ignore[operator]  # one exchange a step
                with self.precision.autocast():
                    terms: dict[str, Tensor] = self.network(part, epoch, step, self.context)
                if weight != 1:
                    terms = {name: weight * value for name, value in terms.items()}
                self.precision.backward(terms["loss"])
            for name, value in terms.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
        return totals

    def _after_step(self, stop: StopRequest) -> None:
        """Inside an epoch: save if it is due, stop if a signal was received."""
        if self.state.step == self.steps_per_epoch:
            return
        every, step = self.stage.intervals.every_steps, self.state.step
        stopping = stop.agreed(self.context, due=step % LOG_EVERY_STEPS == 0)
        if stopping or (every and (self.state.epoch * self.steps_per_epoch + step) % every == 0):
            self._save()
        if stopping:
            raise Interrupted(stop.reason)

    def _score_epoch(self) -> dict[str, float]:
        """The score after an epoch, where one is wanted; the weights of the best epoch are kept."""
        if self.score is None:
            return {}
        with nullcontext() if self.average is None else self.average.in_place():
            value = self.score()
            if not self.state.best or value > self.state.best["score"]:
                model = {name: tensor.clone() for name, tensor in trained_state(self.method).items()}
                self.state.best = {"score": value, "epoch": self.state.epoch, "model": model}
        return {SCORE: value}

    def _finish_epoch(self, stop: StopRequest) -> None:
        """At an epoch's end: save if it is due, stop if a signal was received."""
        self.state.epoch += 1
        self.state.step = 0
        self._count_seconds()
        self.state.epoch_seconds, self.state.epoch_images = 0.0, 0
        self.means.clear()
        stopping = stop.agreed(self.context)
        every = self.stage.intervals.every_epochs
        steps, step_interval = self.state.epoch * self.steps_per_epoch, self.stage.intervals.every_steps
        due = (every and self.state.epoch % every == 0) or (step_interval and steps % step_interval == 0)
        if stopping or self.ended or due:
            self._save()
        if stopping:
            raise Interrupted(stop.reason)

    def _save(self) -> None:
        self.means.check(self.state.epoch)  # never save weights after a non-finite loss
        self._count_seconds()
        skipped = distributed.union(self.source.skipped)
        if self.context.rank == 0:
            state = {
                "run": self.stage.folder.name,
                "stage": self.stage.name,
                "position": asdict(self.state),
                "model": trained_state(self.method),
                "optimizer": self.optimizer.state_dict(),
                "means": self.means.state(),
                "precision": self.precision.state(),
                "skipped": skipped,
                "threads": torch.get_num_threads(),
            }
            if self.average is not None:
                state["average"] = self.average.state()
            self.curves.sync()
            checkpoint.save(self.stage.checkpoint, state)

    def _restore(self, state: dict[str, Any]) -> None:
        own = {"run": self.stage.folder.name, "stage": self.stage.name}
        other = [f"{state[key]}" for key in own if state.get(key, own[key]) != own[key]]
        try:
            if other:
                raise ValueError(f"it is of {' and '.join(other)}")
            self.state = self._position(state["position"])
            load_trained(self.method, state["model"])
            if self.average is not None:
                self.average.restore(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            make_recordable(self.optimizer, self.stage.cuda_graph and self.context.device.type == "cuda")
            self.means.restore(state["means"])
            self.precision.restore(state["precision"])
            if state["skipped"].dtype != torch.bool or state["skipped"].dim() != 1:
                raise ValueError("its skipped images are no list of truth values")
            self.source.skipped = state["skipped"]
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            what = f"{self.stage.checkpoint} does not fit this run ({one_line(error)})"
            raise CheckpointError(f"{what}; {checkpoint.to_start_anew(self.stage.checkpoint)}") from error

    def _position(self, values: dict[str, Any]) -> TrainState:
        """The state of training in a checkpoint; ValueError for one that no training of this length comes to."""
        state = TrainState(**values)
        steps = 0 if state.epoch == self.training.epochs else self.steps_per_epoch
        counts = {"epoch": self.training.epochs, "step": steps, "images": math.inf, "epoch_images": math.inf}
        for name, most in counts.items():
            count = getattr(state, name)
            if type(count) is not int or not 0 <= count <= most:
                raise ValueError(f"its {name} is {count!r}, of {most}")
        for seconds in (state.seconds, state.epoch_seconds):
            if not (isinstance(seconds, (int, float)) and seconds >= 0 and math.isfinite(seconds)):
                raise ValueError(f"its seconds are {seconds!r}")
        if not isinstance(state.best, dict) or state.best and state.best.keys() != {"score", "epoch", "model"}:
            raise ValueError("its best epoch is none")
        return state

    def _count_seconds(self) -> None:
        now = time.perf_counter()
        self.state.seconds += now - self._mark
        self.state.epoch_seconds += now - self._mark
        self._mark = now

    def _new_recorded(self) -> RecordedStep | None:
        if not self.stage.cuda_graph:
            return None
        ranks = self.context.world_size
        require_recordable(self.method, self.training, self.optimizer, self.precision, ranks)
        return RecordedStep(self._update, self.training.batch_size, self.context.device)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        optimizer = build_optimizer(self.groups, self.training, self.context.device)
        bare_step(optimizer)
        make_recordable(optimizer, self.stage.cuda_graph and self.context.device.type == "cuda")
        return optimizer
