"""What a run does otherwise for each task: the one place where tasks part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.config.schema import Config
from lt_bench.data.batches.from_disk import DiskImages
from lt_bench.data.load import Data
from lt_bench.data.scene_transform import SceneTransform
from lt_bench.engine.predict import Scorer
from lt_bench.engine.segment import SceneScorer, confusion_by_image
from lt_bench.evaluation.predictions import Predictions
from lt_bench.predict.predictor import names_of, node_of_backbone
from lt_bench.predict.scenes import ScenePredictor
from lt_bench.record.folder import RunFolder
from lt_bench.run.predictions import Networks, keep_predictor, leave, parts_to_predict, predicted


class Task(NamedTuple):
    """How the networks of a run are scored in training, what they say of held-out images, and what predicts new ones.

    ``scorer`` is called with a method, images, the number of classes and a batch size.
    """

    scorer: Callable[..., Callable[[], float]]
    predicted: Callable[[Config, Data, Networks, Path | None], Predictions]
    keep_predictor: Callable[..., None]


def segmented(config: Config, data: Data, networks: Networks, features_file: Path | None) -> Predictions:
    """What is said of the pixels of ``parts_to_predict``, counted by image."""
    made = dict[str, Predictions]()
    for part, images in parts_to_predict(config, data).items():
        scenes: Any = images
        rows = confusion_by_image(networks, scenes, data.num_classes, config.evaluation.batch_size)
        made[part] = Predictions(
            by_image=rows.cpu().numpy(), train_counts=data.train_counts, group_rule=config.dataset.group_rule
        )
    return replace(made.pop(config.evaluation.split), validation=made.get("validation"))


def keep_scene_predictor(config: Config, data: Data, networks: Networks, folder: RunFolder, made: Predictions) -> None:
    """Leave what predicts the pixels of new images in the run folder."""
    found = ScenePredictor(
        encoder=networks[0],
        classifier=networks[1],
        transform=SceneTransform.of(data.seen, isinstance(data.test, DiskImages)),
        class_names=names_of(data.class_names, made),
        run_id=folder.identity,
        node=node_of_backbone(config),
    )
    leave(found, folder)


TASKS = {
    "classification": Task(Scorer, predicted, keep_predictor),
    "segmentation": Task(SceneScorer, segmented, keep_scene_predictor),
}
