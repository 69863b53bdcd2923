"""What PaCo, GPaCo and its multi-task baseline share: a classifier beside a contrastive loss with a labelled queue."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, View, feature_dim
from lt_bench.errors import SettingError, renamed
from lt_bench.losses.contrast import by_view
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import official_log_prior
from lt_bench.models.heads import ProjectionHead
from lt_bench.models.queue import LabelledQueue

QueueInit = Literal["masked", "official"]
InBatch = Literal["global", "local"]


class Queued(Method):
    """Cui et al., ICCV 2021: encoder, linear classifier (the centres), projection head, queue of second views.

    ``projection_hidden`` null makes the head's hidden layers as wide as the features. ``prior`` adds the log class
    shares to the logits while training; at test time the logits are raw. ``in_batch`` says whose images an anchor
    sees beside the queue: those of all processes, so that the loss is that of the joined batch, or its own process's,
    as in the authors' code. ``queue_init`` and ``official_epsilon`` can bring back the authors' first queue and the
    small constants in their logarithms.
    Raises SettingError for values out of range, DataError for a class without training images.
    """

    provides_classifier: ClassVar[bool] = True
    hidden_layers: ClassVar[int]  # of the projection head
    batch_norm: ClassVar[bool]  # in the projection head
    classifier: nn.Linear
    log_prior: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        queue_size: int = 1024,
        projection_hidden: int | None = None,
        projection_dim: int = 128,
        prior: bool = True,
        queue_init: QueueInit = "masked",
        official_epsilon: bool = False,
        in_batch: InBatch = "global",
        views: Sequence[View] = ("autoaugment_cutout", "sim_blur"),
    ) -> None:
        super().__init__()
        if len(views) != 2:
            raise SettingError("views", "a list of two views", list(views), "[crop_flip,simclr]")
        if in_batch not in ("global", "local"):
            raise SettingError("in_batch", "global or local", in_batch, "global")
        width = feature_dim(encoder)
        self.views = tuple(views)
        self.in_batch, self.official_epsilon = in_batch, official_epsilon
        self.encoder = encoder
        self.classifier = nn.Linear(width, info.num_classes)
        hidden = width if projection_hidden is None else projection_hidden
        with renamed(hidden_dim="projection_hidden", out_dim="projection_dim", size="queue_size", init="queue_init"):
            self.head = ProjectionHead(width, hidden, projection_dim, self.hidden_layers, self.batch_norm)
            self.queue = LabelledQueue(queue_size, projection_dim, info.num_classes, queue_init)
        shares = (official_log_prior if official_epsilon else log_prior)(info.class_counts)
        self.register_buffer("log_prior", (shares if prior else 0 * shares).float(), persistent=False)

    def both_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, V, C) of the V views that are anchors, and unit embeddings (B, 2, D) of both."""
        raise TypeError(f"{type(self).__name__} must define both_views(batch)")

    def loss(self, logits: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of anchors with logits (A, C), which are the first A of the labelled embeddings (n, D), labels (n,).

        The last rows are the queue's, which have no gradient.
        """
        raise TypeError(f"{type(self).__name__} must define loss(logits, embeddings, labels)")

    def phase(self, epoch: int) -> Hashable:
        """All epochs are alike."""
        return 0

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """The loss against both views and the queue as it was, and the anchors' accuracy; then the queue goes on."""
        own = (*self.both_views(batch), batch.labels)
        joined = tuple(context.gather(rows) for rows in own)
        logits, embeddings, labels = joined if self.in_batch == "global" else own
        contrast = torch.cat([by_view(embeddings), self.queue.rows])
        contrast_labels = torch.cat([labels, labels, self.queue.labels])
        self.queue.enqueue(joined[1][:, 1].detach(), joined[2])
        anchor_labels = labels.repeat(logits.shape[1])
        logits = by_view(logits)
        accuracy = (logits.detach().argmax(1) == anchor_labels).float().mean()
        return {"loss": self.loss(logits, contrast, contrast_labels), "accuracy": accuracy}
