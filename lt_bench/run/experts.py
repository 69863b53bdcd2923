"""What of a network's experts is evaluated: the mean of their logits, one of them, or weights learnt on the images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lt_bench.config.evaluation import AGGREGATED
from lt_bench.config.schema import Config
from lt_bench.contracts import View
from lt_bench.data.load import Data
from lt_bench.engine.context import EngineContext, evaluating
from lt_bench.engine.distributed import Processes
from lt_bench.engine.predict import embed_plain
from lt_bench.engine.random import derived_seed
from lt_bench.errors import UsageError
from lt_bench.evaluation.aggregation import Learning, weights_by_test_set
from lt_bench.evaluation.experts import UNIFORM
from lt_bench.models.experts import ExpertHeads
from lt_bench.models.named import MEAN, expert_name
from lt_bench.models.router import RoutedExperts, flops_by_experts
from lt_bench.record.record import ADAPTED


class Evaluated(NamedTuple):
    """The classifier that is evaluated, and the weights of its experts by test set where they were learnt on images."""

    classifier: nn.Module
    weights: dict[str, np.ndarray]

    def recorded(self, config: Config) -> dict[str, Any]:
        """What a record says of weights that were learnt."""
        if not self.weights:
            return {}
        weights = {name: one.round(6).tolist() for name, one in self.weights.items()}
        return {ADAPTED.format(config.evaluation.split): True, "expert_weights": weights}


def evaluated(config: Config, data: Data, processes: Processes, encoder: nn.Module, classifier: nn.Module) -> Evaluated:
    """A run's classifier as ``evaluation.experts`` has it; UsageError where it has no such experts."""
    chosen = config.evaluation.experts
    if chosen == MEAN:
        return Evaluated(classifier, {})
    names = [*map(expert_name, range(len(classifier.heads)))] if isinstance(classifier, ExpertHeads) else []
    if not isinstance(classifier, ExpertHeads) or chosen not in (AGGREGATED, *names):
        raise UsageError(
            f"evaluation.experts={chosen}: the classifier has no such experts; set evaluation.experts={MEAN}"
        )
    if chosen != AGGREGATED:
        return Evaluated(ExpertHeads.of([*classifier.heads], [float(name == chosen) for name in names]), {})
    images = data.test if config.evaluation.split == "test" else data.validation
    context = EngineContext(processes, derived_seed(config.seed, "aggregation"), images, config.evaluation.batch_size)
    context.module = nn.ModuleList([encoder, classifier])
    weights = weights_by_test_set(
        _pairs_of_views(config, context, encoder, classifier),
        images.labels.cpu().numpy(),
        data.train_counts,
        learning(config),
    )
    return Evaluated(ExpertHeads.of([*classifier.heads], weights[UNIFORM].tolist()), weights)


def learning(config: Config) -> Learning:
    """How weights of experts are learnt: as stage one's classifiers were, where nothing else is said."""
    values, stage_one = config.evaluation.aggregation, config.train
    decay = stage_one.optimizer.get("weight_decay", 0.0) if values.weight_decay is None else values.weight_decay
    return Learning(
        lr=stage_one.lr * stage_one.head_lr_factor if values.lr is None else values.lr,
        weight_decay=decay,
        momentum=values.momentum,
        epochs=values.epochs,
        batch_size=values.batch_size,
        smallest=values.smallest,
    )


def _pairs_of_views(config: Config, context: EngineContext, encoder: nn.Module, heads: ExpertHeads) -> list[np.ndarray]:
    """The logits (2, N, K, C) of all experts for pairs of random views of the images that are evaluated."""
    values = config.evaluation.aggregation
    small = config.dataset.crop_padding is not None
    view: View = values.view or ("crop_flip_jitter_blur" if small else "sim_blur")
    made = []
    for draw in range(2 * values.pairs):
        context.epoch = draw  # another draw of the view
        made.append(context.embed(lambda images: heads.expert_logits(encoder(images)), view).cpu().numpy())
    return [np.stack(made[2 * pair : 2 * pair + 2]) for pair in range(values.pairs)]


@torch.no_grad()
def routing_cost(config: Config, data: Data, encoder: nn.Module, classifier: nn.Module) -> dict[str, Any]:
    """For the record, where experts are asked one after the other: how many images take how many, and what that costs.

    ``experts_used`` are the shares of the evaluated images that take 1, 2, ... experts, ``mean_flops`` and ``flops``
    the floating-point operations of one image, on average over those, and with all experts.
    """
    if not isinstance(classifier, RoutedExperts):
        return {}
    images = data.test if config.evaluation.split == "test" else data.validation
    features = embed_plain(encoder, images, config.evaluation.batch_size).flatten(0, 1)
    with evaluating(classifier):
        used = torch.cat([classifier.routed(part)[1] for part in features.split(config.evaluation.batch_size)])
    shares = torch.bincount(used - 1, minlength=len(classifier.experts.heads)).double() / len(used)
    first = torch.zeros(1, dtype=torch.int64, device=images.labels.device)
    image = next(iter(images.chunks("plain", first, slice(None), 1, torch.Generator(first.device))))[:1]
    with evaluating(nn.ModuleList([encoder, classifier])):
        flops = flops_by_experts(encoder, classifier, image)
    mean = sum(share * cost for share, cost in zip(shares.tolist(), flops, strict=True))
    return {"experts_used": [round(share, 6) for share in shares.tolist()], "mean_flops": mean, "flops": flops[-1]}
