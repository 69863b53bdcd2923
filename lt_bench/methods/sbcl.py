"""Subclass-balancing contrastive learning: head classes are split into subclasses as small as the tail classes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lt_bench.contracts import Batch, TrainContext, TrainInfo, View
from lt_bench.errors import SettingError
from lt_bench.geometry.subclasses import num_subclasses, update_subclasses
from lt_bench.geometry.temperature import class_concentration, class_temperatures
from lt_bench.losses.sbcl import subclass_balancing
from lt_bench.losses.supcon import supcon
from lt_bench.methods.supcon import SupCon

Clustering = Literal["balanced", "balanced_paper", "balanced_official", "kmeans_official"]
TemperatureLaw = Literal["linear_clipped", "exponential"]


class SBCL(SupCon):
    """Hou et al., ICCV 2023 (algorithm 2, CIFAR form): supervised contrastive warm-up, then the bi-granularity loss.

    Subclasses and temperatures are renewed every ``update_interval`` epochs from ``warm_epochs`` on, also at
    ``warm_epochs`` itself (the authors' code stops there if the interval does not divide it). The subclass term is
    multiplied by its temperature / ``base_temperature``, the warm-up's loss by ``temperature`` /
    ``warm_base_temperature``, where null is ``temperature``: no factor. ``subclass_temperature``
    null is ``temperature``; the authors' code fixes it to 0.1, so that there an option reaches the class term only.
    ``kmeans_seed`` seeds the generator of ``kmeans_official``; its place in the authors' stream of random numbers is
    not reproduced.
    """

    begins_at: ClassVar[tuple[str, ...]] = ("warm_epochs",)
    labels: Tensor
    clusters_per_class: Tensor
    subclasses: Tensor
    class_temperatures: Tensor
    kmeans_state: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        temperature: float = 0.1,
        base_temperature: float = 0.07,
        warm_base_temperature: float | None = None,
        subclass_temperature: float | None = None,
        beta: float = 0.25,
        warm_epochs: int = 10,
        update_interval: int = 10,
        minimum_size: int = 10,
        temperature_law: TemperatureLaw = "linear_clipped",
        concentration_alpha: float = 10.0,
        distance_epsilon: float = 0.0,
        clustering: Clustering = "balanced",
        cluster_view: str = "plain",
        kmeans_seed: int = 0,
        projection_hidden: int | None = None,
        projection_dim: int = 128,
        views: Sequence[View] = ("simclr", "simclr"),
    ) -> None:
        super().__init__(
            encoder,
            info,
            temperature=temperature,
            base_temperature=base_temperature,
            projection_hidden=projection_hidden,
            projection_dim=projection_dim,
            views=views,
        )
        if warm_base_temperature is not None and not warm_base_temperature > 0:
            raise SettingError("warm_base_temperature", "above 0", warm_base_temperature, "null")
        if warm_epochs < 0:
            raise SettingError("warm_epochs", "0 or more", warm_epochs, 10)
        if update_interval < 1:
            raise SettingError("update_interval", "at least 1", update_interval, 10)
        if not 0 <= kmeans_seed < 2**32:
            raise SettingError("kmeans_seed", f"from 0 to {2**32 - 1}", kmeans_seed, 0)
        self.warm_base_temperature = temperature if warm_base_temperature is None else warm_base_temperature
        self.subclass_temperature = temperature if subclass_temperature is None else subclass_temperature
        self.beta, self.warm_epochs, self.update_interval = beta, warm_epochs, update_interval
        self.temperature_law, self.alpha, self.epsilon = temperature_law, concentration_alpha, distance_epsilon
        self.clustering, self.cluster_view = clustering, cluster_view
        self.register_buffer("labels", info.labels.clone(), persistent=False)
        self.register_buffer("clusters_per_class", num_subclasses(info.class_counts, minimum_size), persistent=False)
        self.register_buffer("subclasses", info.labels.clone())
        self.register_buffer("class_temperatures", torch.full((info.num_classes,), temperature))
        self.register_buffer("kmeans_state", _pack(np.random.RandomState(kmeans_seed)))

    def on_epoch_start(self, epoch: int, context: TrainContext) -> None:
        """Renew subclasses and temperatures where an update is due."""
        due = epoch == self.warm_epochs or epoch % self.update_interval == 0
        if epoch >= self.warm_epochs and due:
            self.update(epoch, context)

    @torch.no_grad()
    def update(self, epoch: int, context: TrainContext) -> None:
        """Cluster every split class and set every class's temperature (section 3.3 and eq. 5-6)."""
        embeddings = context.embed(self.embed_for_clusters, self.cluster_view)
        self.subclasses.copy_(
            context.from_rank0(lambda: self._cluster(embeddings, context.generator("cluster", epoch)))
        )
        phi = class_concentration(
            embeddings, self.labels, len(self.class_temperatures), self.alpha, epsilon=self.epsilon
        )
        self.class_temperatures.copy_(
            class_temperatures(phi, self.clusters_per_class, self.temperature, self.temperature_law)
        )

    def embed_for_clusters(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the unit-length embeddings (B, D) that are clustered."""
        return self.embed(images)

    def _cluster(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        state = _unpack(self.kmeans_state)
        subclasses = update_subclasses(
            embeddings, self.labels, self.clusters_per_class, self.clustering, generator=generator, numpy_state=state
        )
        self.kmeans_state.copy_(_pack(state))
        return subclasses

    def phase(self, epoch: int) -> Hashable:
        """Whether subclasses are known."""
        return epoch >= self.warm_epochs

    def forward(self, batch: Batch, epoch: int, step: int, context: TrainContext) -> dict[str, Tensor]:
        """Supervised contrastive loss while warming up, the bi-granularity loss afterwards, on all ranks' batch."""
        features, labels = context.gather(self.embed_views(batch)), context.gather(batch.labels)
        if epoch < self.warm_epochs:
            return {"loss": supcon(features, labels, self.temperature, self.warm_base_temperature)}
        subclasses = self.subclasses[context.gather(batch.indices)]
        loss = subclass_balancing(
            features,
            labels,
            subclasses,
            self.subclass_temperature,
            self.class_temperatures,
            self.beta,
            self.base_temperature,
        )
        return {"loss": loss}


def _pack(state: np.random.RandomState) -> Tensor:
    """The state of NumPy's legacy generator (624 words and the position in them) as a tensor, for checkpoints."""
    values = state.get_state(legacy=False)["state"]
    return torch.tensor([*values["key"].tolist(), values["pos"]], dtype=torch.int64)


def _unpack(packed: Tensor) -> np.random.RandomState:
    """The generator that ``_pack`` stored."""
    *key, position = packed.tolist()
    state = np.random.RandomState()
    state.set_state(("MT19937", np.array(key, dtype=np.uint32), position, 0, 0.0))
    return state
