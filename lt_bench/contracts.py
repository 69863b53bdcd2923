"""The contracts between the engine, the methods and the stage-two rules."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

# a name of a view, or its operations in turn, as ``augment.described`` reads them
View = str | list[Any] | dict[str, Any]


def feature_dim(encoder: nn.Module) -> int:
    """The width D of an encoder's features: every encoder maps images to (B, D) and says how wide they are."""
    width = encoder.feature_dim
    assert isinstance(width, int)
    return width


class Mix(NamedTuple):
    """What the images of a batch were mixed with: labels (B,) of the others, and ``kept`` (B,) of the own labels.

    Where a method mixes each view in its own way, ``kept`` is (B, views).
    """

    labels: Tensor
    kept: Tensor


class Batch(NamedTuple):
    """One rank's share of a mini-batch.

    Shapes: views, in the order of ``Method.views``, images (B, 3, H, W) or cached features (B, D);
    labels (B,) int64, never read by self-supervised methods, in segmentation masks (B, H, W) uint8 with ``NO_LABEL``
    where there is none; indices (B,) positions in the train split.
    ``partner`` is a batch of as many other images, for methods with a ``partner_exponent``; ``mix`` says what ``mixed``
    did to the views.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    indices: Tensor
    partner: Batch | None = None
    mix: Mix | None = None


class TrainInfo(NamedTuple):
    """What is known before a method is built: labels (N,) of the train split, classes, epochs of the stage.

    ``class_names`` are C words, where classes have names. In segmentation ``labels`` are masks (N, H, W), or empty
    where these are files, and ``counts`` (C,) says how many images have pixels of each class.
    """

    labels: Tensor
    num_classes: int
    epochs: int
    class_names: Sequence[str] | None = None
    counts: Tensor | None = None

    @property
    def class_counts(self) -> Tensor:
        """Training images per class, (C,) int64."""
        if self.counts is not None:
            return self.counts
        return torch.bincount(self.labels, minlength=self.num_classes)


class TrainContext(Protocol):
    """What the engine provides to a method."""

    rank: int
    world_size: int

    def generator(self, stream: str, *key: int) -> torch.Generator:
        """A generator that is a function of (seed, stream, key) alone."""

    def gather(self, rows: Tensor) -> Tensor:
        """All ranks' rows (B, ...) -> (world_size * B, ...) in rank order, differentiable; identity on one rank."""

    def from_rank0(self, compute: Callable[[], Tensor]) -> Tensor:
        """The result of ``compute``, computed on rank 0 only and broadcast."""

    def embed(self, function: Callable[[Tensor], Tensor], view: View = "plain") -> Tensor:
        """``function`` (images -> (B, D)) over the train split, (N, D) in index order, eval mode, no gradients."""


class ParameterGroup(NamedTuple):
    """Parameters that are trained alike: ``lr_factor`` times the rate of every step, and a weight decay.

    A weight decay of None is that of the optimiser.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    lr_factor: float = 1.0
    weight_decay: float | None = None


class Method(nn.Module):
    """Stage one or stage two of a run: networks, loss and buffers; ``state_dict()`` is its whole state.

    ``views`` are the augmentations a batch holds; ``encoder`` maps images to (B, D) features before any head;
    ``classifier`` maps features to logits, or is None. ``provides_classifier`` says so without building anything,
    ``linear_classifier`` whether it is a plain ``nn.Linear`` and ``normalized_classifier`` whether a
    ``NormalizedLinear``, which some stage-two rules need. A ``self_supervised`` method never reads labels, and neither
    may anything that its training depends on; one that ``gives_strength`` has boosted views. ``smallest_share`` is how
    many images of a batch a process needs; a smaller last batch is left out. On several processes batch norms see the
    joined batch, but for those inside the submodules that ``replicated`` names: they have the same rows on every
    process. ``microbatches`` says that the loss is a mean over independent images, so that a batch may be taken in
    parts, while the parameters that ``microbatches_without`` names are 0.

    Read without building anything too: ``task`` is that of the data sets that it is for; in "segmentation" ``encoder``
    gives maps (``models.maps``), of which ``classifier`` makes logits (B, C, h, w). ``begins_at`` names the parameters
    that are epochs, counted from 0, in which something begins, so that they are inside the run; ``requires`` names the
    components that it is nothing without; a run has ``least_epochs`` or more; ``restarts_at`` names the parameter that
    ``restart_epochs`` gives, unless the parameter ``restart`` is false.

    ``start``, where it is not None, is called once, before the first step of a training, with the method, its context
    and the labels (N,) of the train split: what initial weights are taken from images. A method with a
    ``partner_exponent`` a has partner batches, whose images are drawn from the train split with replacement, each with
    a probability proportional to (images of its class)^-a.
    """

    views: tuple[View, ...] = ()
    task: ClassVar[str] = "classification"
    provides_classifier: ClassVar[bool] = False
    linear_classifier: ClassVar[bool] = True
    normalized_classifier: ClassVar[bool] = False
    self_supervised: ClassVar[bool] = False
    smallest_share: ClassVar[int] = 1
    gives_strength: ClassVar[bool] = False
    replicated: ClassVar[tuple[str, ...]] = ()
    microbatches: ClassVar[bool] = False
    microbatches_without: ClassVar[tuple[str, ...]] = ()
    begins_at: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    least_epochs: ClassVar[int] = 1
    restarts_at: ClassVar[str | None] = None
    encoder: nn.Module
    classifier: nn.Module | None
    start: Callable[[Method, TrainContext, Tensor], None] | None
    partner_exponent: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.classifier = None
        self.start = None

    def evaluated_encoder(self) -> nn.Module:
        """The encoder that stage two builds on: ``encoder``, where a method offers no other."""
        return self.encoder

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """All trained parameters, each in one group; a method may give some of them a rate or a decay of their own."""
        return (ParameterGroup("all", [parameter for parameter in self.parameters() if parameter.requires_grad]),)

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Called before every epoch, counted from 0; skipped when a run resumes inside an epoch."""

    def strength(self) -> Tensor | None:
        """How strongly boosted views augment each image of the train split, (N,) in [0, 1]; None: not at all.

        Read at the start of every epoch and when a run resumes inside one, so it is a buffer that ``on_epoch_start``
        alone changes.
        """
        return None

    def restart_epochs(self) -> tuple[int, ...]:
        """Epochs at whose start optimiser and schedule begin anew."""
        return ()

    def needs_partner(self, epoch: int, step: int, context: TrainContext) -> bool:
        """Whether the batch of a step needs its partner, which is else not made; a function of (seed, epoch, step)."""
        return self.partner_exponent is not None

    def mixed(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> Batch:
        """A rank's whole share of a batch as ``forward`` gets it, before it is taken in parts or recorded."""
        return batch

    def phase(self, epoch: int) -> Hashable:
        """What a step depends on beside tensors: in epochs of equal phases ``forward`` does the same, recorded once.

        Such a step reads nothing on the host, draws nothing and does not look at ``step``; buffers are changed in
        place. None, as here: the steps of this epoch are not known to be like that.
        """
        return None

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """One training step: "loss" (scalar, differentiable) and further detached terms."""
        raise TypeError(f"{type(self).__name__} must define forward(batch, epoch, step, context)")


class StageTwo(Protocol):
    """A rule that fits a classifier on a frozen encoder; a rule that names it as its base has these defaults.

    ``tasks`` are those that it is for. ``train_split`` is "train", the long-tailed images, or "balanced", every
    training image that is not held out; ``shots`` takes that many labelled images of each class of it, drawn with
    ``shot_seed``. ``train_view`` is how the encoder sees the images where their features are computed once.
    ``microbatches`` and ``begins_at`` are as for a method.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    uses_classifier: ClassVar[bool] = False
    needs_linear_classifier: ClassVar[bool] = False
    needs_normalized_classifier: ClassVar[bool] = False
    needs_experts: ClassVar[bool] = False
    microbatches: ClassVar[bool] = False
    begins_at: ClassVar[tuple[str, ...]] = ()
    train_split: str = "train"
    train_view: View = "plain"
    shots: int | None = None
    shot_seed: int = 0

    def build(self, encoder: nn.Module, classifier: nn.Module | None, info: TrainInfo) -> Method:
        """The method that the engine trains; the weights of its encoder are frozen, and it stays in eval mode.

        A rule may let the encoder's batch norms follow the data, where features are not computed once: what is
        evaluated and kept is the method's ``encoder``.
        """

    def finish(self, method: Method, context: TrainContext) -> nn.Module:
        """The classifier (features -> logits) that is evaluated: the method's, unless a rule makes another of it."""
        assert method.classifier is not None
        return method.classifier


class Schedule(Protocol):
    """A learning rate for every step."""

    def __call__(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Learning rate at a step, both counted from 0."""
