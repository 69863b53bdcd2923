"""What a run of scenes left to predict new images with: networks, preprocessing, names of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lt_bench.config.trust import load as load_target
from lt_bench.data.scene_transform import SceneTransform
from lt_bench.data.transform import ImageLike
from lt_bench.models.kept import keep
from lt_bench.models.maps import enlarged, spatial_maps
from lt_bench.record.record import PREDICTOR


class SceneNetwork(nn.Module):
    """Encoder and head as one network: images (B, 3, H, W), normalised, to logits of their pixels (B, C, H, W)."""

    def __init__(self, encoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, images: Tensor) -> Tensor:
        """Shapes: (B, 3, H, W) -> (B, C, H, W)."""
        return enlarged(self.classifier(spatial_maps(self.encoder, images)), images.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class ScenePredictor:
    """A trained model of scenes: ``classifier`` makes logits (B, C, h, w) of the maps of ``encoder``.

    ``transform`` makes of an image, or a file, what the encoder takes, as in the run's evaluation. ``class_names`` are
    C words by class number, the numbers themselves where classes have no names. ``node`` builds the encoder's network;
    ``run_id`` is the run that it is of. Both networks are in eval mode.
    """

    task: ClassVar[str] = "segmentation"
    encoder: nn.Module
    classifier: nn.Module
    transform: SceneTransform
    class_names: tuple[str, ...]
    run_id: str = ""
    node: dict[str, Any]

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) after ``transform``, on any device, to logits (B, C, h, w) on the networks' device."""
        place = next(self.encoder.parameters()).device
        rows = images.to(place, memory_format=torch.channels_last)
        found: Tensor = self.classifier(spatial_maps(self.encoder, rows))
        return found

    def of_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The classes of the pixels of an image (H, W, 3) as it is stored, (H, W) uint8."""
        logits = enlarged(self.logits(self.transform.normalised(pixels)[None]), torch.Size(pixels.shape[:2]))
        return logits[0].argmax(0).to(torch.uint8).cpu().numpy()

    def mask(self, image: ImageLike) -> NDArray[np.uint8]:
        """The classes of the pixels of an image, or of the one in a file, (H, W) uint8; raises BadImage."""
        return self.of_pixels(self.transform.rgb(image))

    def network(self) -> nn.Module:
        """Both networks as one, for other programs."""
        return SceneNetwork(self.encoder, self.classifier).eval()

    def to(self, device: str | torch.device) -> ScenePredictor:
        """The same with its networks moved to a device."""
        return replace(self, encoder=self.encoder.to(device), classifier=self.classifier.to(device))

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder, from which ``load`` reads it without the run; returns the file's path.

        Raises NotKept for networks of one's own without ``settings``, NotWritten.
        """
        path = Path(folder) / PREDICTOR
        about = {
            "task": self.task,
            "run_id": self.run_id,
            "transform": self.transform.to_dict(),
            "class_names": list(self.class_names),
            "backbone": self.node,
        }
        keep(path, self.encoder, self.classifier, self.node, load_target, about)
        return path

    @classmethod
    def own_values(cls, about: Mapping[str, Any]) -> dict[str, Any]:
        """What the head of a file says beside what every predictor has; KeyError, TypeError or ValueError for less."""
        return {"transform": SceneTransform.from_dict(about["transform"])}
