"""Confusion of pixels by image, of an encoder and a head on held-out scenes."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lt_bench.contracts import Method
from lt_bench.data.batches.scenes import EvaluatedScenes
from lt_bench.engine import distributed
from lt_bench.engine.context import evaluating
from lt_bench.errors import DataError, NonFiniteLoss
from lt_bench.evaluation.metrics import miou
from lt_bench.evaluation.predictions import Predictions
from lt_bench.models.maps import enlarged, spatial_maps
from lt_bench.models.masks import NO_LABEL


@torch.no_grad()
def confusion_by_image(
    networks: tuple[nn.Module, nn.Module], scenes: EvaluatedScenes, num_classes: int, batch_size: int
) -> Tensor:
    """Rows (K, 4) of (image, true class, predicted class, pixels) of encoder and head, on every rank.

    Logits are enlarged to each mask, and pixels without a label are left out.  Raises NonFiniteLoss, and DataError
    where no pixel has a label.
    """
    encoder, head = networks
    count = len(scenes.labels)
    ranks, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    mine = slice(count * rank // ranks, count * (rank + 1) // ranks)
    first, found = mine.start, [torch.zeros(0, 4, dtype=torch.int64, device=scenes.labels.device)]
    finite = torch.ones((), dtype=torch.bool, device=scenes.labels.device)
    with evaluating(encoder), evaluating(head):
        for images, masks in scenes.evaluated(mine, batch_size):
            logits = enlarged(head(spatial_maps(encoder, images)), masks.shape)
            finite &= torch.isfinite(logits).all()
            found.append(_counted(masks, logits.argmax(1), num_classes, first))
            first += len(masks)
    rows = _of_all_ranks(torch.cat(found))
    if not bool(distributed.all_gather(finite[None]).all()):
        raise NonFiniteLoss(f"logits on held-out scenes are not finite; {NonFiniteLoss.advice}")
    if not len(rows):
        raise DataError(f"none of the {count:,} held-out scenes has a pixel with a label, so nothing can be measured")
    return rows


def _counted(masks: Tensor, predicted: Tensor, num_classes: int, first: int) -> Tensor:
    """The rows of some scenes (B, H, W), of which the first has this number."""
    image = torch.arange(len(masks), device=masks.device)[:, None, None].expand_as(predicted)
    known = masks != NO_LABEL
    place = (image * num_classes + masks.long()) * num_classes + predicted
    counts = torch.bincount(place[known], minlength=len(masks) * num_classes**2)
    at = counts.nonzero()[:, 0]
    label, image = at // num_classes % num_classes, at // num_classes**2
    return torch.stack([image + first, label, at % num_classes, counts[at]], dim=1)


def _of_all_ranks(rows: Tensor) -> Tensor:
    """The rows of all ranks, who have different numbers of them, in rank order."""
    lengths = distributed.all_gather(torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_full((int(lengths.max()), rows.shape[1]), -1)
    padded[: len(rows)] = rows
    joint = distributed.all_gather(padded)
    return joint[joint[:, 0] >= 0]


class SceneScorer:
    """Mean IoU of a method on held-out scenes, to choose the best epoch by."""

    def __init__(self, method: Method, scenes: EvaluatedScenes, num_classes: int, batch_size: int) -> None:
        self.method, self.scenes, self.num_classes, self.batch_size = method, scenes, num_classes, batch_size

    def __call__(self) -> float:
        """The mean IoU in [0, 1]."""
        assert self.method.classifier is not None
        networks = self.method.encoder, self.method.classifier
        rows = confusion_by_image(networks, self.scenes, self.num_classes, self.batch_size)
        counts = np.ones(self.num_classes, dtype=np.int64)  # which groups the mean does not look at
        found = miou(Predictions(by_image=rows.cpu().numpy(), train_counts=counts, group_rule="thirds"))
        assert found is not None  # some pixel has a label
        return found
