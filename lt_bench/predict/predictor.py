"""What a run left to predict new images with: networks, preprocessing, names of classes, temperature."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_bench.config.keys import fields_of
from lt_bench.config.schema import Backbone, Config, flat
from lt_bench.config.signatures import TargetError, defined_in
from lt_bench.config.trust import load as load_target
from lt_bench.config.trust import untrusted
from lt_bench.data.batches.crops import images_at_once
from lt_bench.data.transform import Transform
from lt_bench.errors import DataError, UsageError, one_line
from lt_bench.evaluation.calibration import fitted_temperature
from lt_bench.evaluation.predictions import Predictions
from lt_bench.files import read_json
from lt_bench.models.kept import PARTS, about_file, keep, read
from lt_bench.models.whole import Whole
from lt_bench.predict.run_folder import predictor_file
from lt_bench.predict.scenes import ScenePredictor
from lt_bench.record.record import PREDICTOR, RECORD


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictor:
    """A trained model: ``encoder`` maps images to features (B, D), ``classifier`` features to logits (B, C).

    ``transform`` makes of an image, or a file, what the encoder takes, as in the run's evaluation, which may be several
    crops. ``class_names`` are
    C words by class number, the numbers themselves where classes have no names. ``temperature`` divides logits, so that
    probabilities are calibrated: fitted on ``calibrated_on`` validation images, None where the run had none. ``node``
    builds the encoder's network; ``run_id`` is the run that it is of, ``batch_size`` the images of its evaluation's
    forward passes. Both networks are in eval mode.
    """

    encoder: nn.Module
    classifier: nn.Module
    transform: Transform
    class_names: tuple[str, ...]
    temperature: float | None = None
    calibrated_on: int = 0
    run_id: str = ""
    batch_size: int = 500
    node: dict[str, Any]
    task: ClassVar[str] = "classification"

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) after ``transform``, on any device, to logits (B, C) on the networks' device.

        Those of several crops (B, crops, 3, S, S) are the mean over these.
        """
        place = next(self.encoder.parameters()).device
        rows = images.flatten(0, -4).to(place, memory_format=torch.channels_last)
        found: Tensor = self.classifier(self.encoder(rows))
        return found if images.ndim == 4 else found.unflatten(0, images.shape[:2]).mean(1)

    @property
    def images_at_once(self) -> int:
        """Images that are computed together, as in the run's evaluation: ``batch_size`` crops."""
        return images_at_once(self.transform.crops, self.batch_size)

    def probabilities(self, images: Tensor) -> Tensor:
        """Images after ``transform``, see ``logits``, to probabilities (B, C), calibrated by any temperature."""
        return self.calibrated(self.logits(images))

    def calibrated(self, logits: Tensor) -> Tensor:
        """Probabilities (B, C) of logits (B, C)."""
        return torch.softmax(logits / (self.temperature or 1.0), dim=1)

    @property
    def about_probabilities(self) -> str:
        """Whether probabilities are calibrated, in words."""
        if self.temperature is None:
            return "not calibrated: the run has no validation part"
        return f"calibrated, temperature {self.temperature:.3g}, fitted on {self.calibrated_on:,} validation images"

    def network(self) -> nn.Module:
        """Both networks as one, for other programs: images (B, 3, S, S) to logits (B, C)."""
        return Whole(self.encoder, self.classifier).eval()

    def to(self, device: str | torch.device) -> Predictor:
        """The same with its networks moved to a device."""
        return replace(self, encoder=self.encoder.to(device), classifier=self.classifier.to(device))

    @classmethod
    def own_values(cls, about: Mapping[str, Any]) -> dict[str, Any]:
        """What the head of a file says beside what every predictor has, by the names of the fields.

        Raises KeyError, TypeError, ValueError or OverflowError for other values.
        """
        temperature, counts = about["temperature"], {"calibrated_on": 0, "batch_size": 1}
        if temperature is not None and not 0 < float(temperature) < math.inf:
            raise ValueError(f"temperature is a number above 0, not {temperature}")
        for key, least in counts.items():
            if type(about[key]) is not int or about[key] < least:
                raise ValueError(f"{key} is a whole number from {least}, not {about[key]!r}")
        return {
            "transform": Transform.from_dict(about["transform"]),
            "temperature": None if temperature is None else float(temperature),
            **{key: about[key] for key in counts},
        }

    def save(self, folder: str | Path) -> Path:
        """Write it into a folder, from which ``load`` reads it without the run; returns the file's path.

        Raises NotKept for networks of one's own without ``settings``, NotWritten.
        """
        path = Path(folder) / PREDICTOR
        about = {
            "run_id": self.run_id,
            "transform": self.transform.to_dict(),
            "class_names": list(self.class_names),
            "temperature": self.temperature,
            "calibrated_on": self.calibrated_on,
            "batch_size": self.batch_size,
            "backbone": self.node,
        }
        keep(path, self.encoder, self.classifier, self.node, load_target, about)
        return path


def of_run(
    config: Config,
    identity: str,
    networks: tuple[nn.Module, nn.Module],
    transform: Transform,
    class_names: Sequence[str] | None,
    made: Predictions,
) -> Predictor:
    """The predictor of a run that just made its predictions; those of validation images give its temperature."""
    held_out = made if config.evaluation.split == "validation" else made.validation
    count = 0 if held_out is None else len(held_out.labels)
    return Predictor(
        encoder=networks[0],
        classifier=networks[1],
        transform=transform,
        class_names=names_of(class_names, made),
        temperature=None if held_out is None else fitted_temperature(held_out.logits, held_out.labels),
        calibrated_on=count,
        run_id=identity,
        batch_size=config.evaluation.batch_size,
        node=node_of_backbone(config),
    )


def names_of(class_names: Sequence[str] | None, made: Predictions) -> tuple[str, ...]:
    """The names of a run's classes, their numbers where they have none."""
    return tuple(class_names or map(str, range(len(made.train_counts))))


def node_of_backbone(config: Config) -> dict[str, Any]:
    """What builds the network of a run's encoder again."""
    backbone = {key: value for key, value in config.backbone.items() if key not in fields_of(Backbone)}
    return {"_target_": config.backbone["_target_"], **backbone}


PREDICTORS: dict[str, type[Predictor | ScenePredictor]] = {one.task: one for one in (Predictor, ScenePredictor)}


def load(run: str | Path, *, device: str | torch.device = "cpu", trust: Iterable[str] = ()) -> Predictor:
    """As ``load_any``, of classification; raises UsageError for a predictor of scenes too."""
    found = load_any(run, device=device, trust=trust)
    if not isinstance(found, Predictor):
        raise UsageError(f"{run} is a run of {found.task}, and one of classification is needed; name such a run")
    return found


def load_any(
    run: str | Path, *, device: str | torch.device = "cpu", trust: Iterable[str] = ()
) -> Predictor | ScenePredictor:
    """The predictor in a run folder, or in a folder that ``save`` of one wrote.

    Networks of lt_bench, torchvision and timm are built again; one of your own only where ``trust`` names its module,
    because that is code which runs. Raises UsageError where there is no predictor or its code is not trusted, DataError
    for a damaged one.
    """
    path = predictor_file(run)
    about = about_file(path)
    for part in PARTS:
        _require_trusted(part, about[part], [*trust], path)
    try:
        kind = PREDICTORS[about.get("task", Predictor.task)]
        plain = _plain_values(about) | kind.own_values(about)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is damaged ({one_line(error)})") from error
    if (beside := read_json(path.with_name(RECORD)).get("run_id", plain["run_id"])) != plain["run_id"]:
        raise DataError(f"{path} is of run {plain['run_id']}, but {RECORD} beside it of {beside}; bring back its own")
    kept = read(path, load_target)
    found = kind(encoder=kept.encoder, classifier=kept.classifier, **plain)
    _require_fitting(found, path)
    return found.to(device)


def _plain_values(about: Mapping[str, Any]) -> dict[str, Any]:
    """What the head of a file says of every predictor and is no network, by the names of ``Predictor``.

    Raises KeyError, TypeError or ValueError for other values.
    """
    names = about["class_names"]
    if not (names and isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("class_names is a list of words")
    return {"class_names": tuple(names), "run_id": str(about["run_id"]), "node": dict(about["backbone"])}


def _require_fitting(found: Predictor | ScenePredictor, path: Path) -> None:
    """Raise DataError unless the networks take an image and say as much of it as there are classes."""
    size, classes = found.transform.size, len(found.class_names)
    try:
        said = str([*found.logits(torch.zeros(1, 3, size, size)).shape[:2]])
    except Exception as error:  # what networks raise for images that they cannot take is not listed anywhere
        said = one_line(error)
    if said != str([1, classes]):
        raise DataError(f"{path} is damaged: its networks do not fit {classes:,} classes and images of {size} ({said})")


def _require_trusted(key: str, node: Mapping[str, Any], trust: list[str], path: Path) -> None:
    """Raise UsageError unless everything that a node would run is trusted, DataError where there is no such thing."""
    target = node.get("_target_")
    try:
        if not isinstance(target, str):
            raise TargetError("no _target_")
        defined_in(target)
    except TargetError as error:
        raise DataError(f"{path} names what cannot be built, {key}: {' '.join(str(error).split())}") from error
    if lines := [*untrusted(flat({key: dict(node)}), trust)]:
        here = "here: --trust MODULE, in Python lt_bench.load(run, trust=['MODULE'])"
        raise UsageError("\n".join([*(f"{path}: {line}" for line in lines), here]))
    for name, one in node.items():
        if isinstance(one, Mapping):
            _require_trusted(f"{key}.{name}", one, trust, path)
