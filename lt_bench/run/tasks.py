"""What a run does otherwise for each task: the one place where tasks part."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.config.schema import Config
from lt_bench.data.load import Data
from lt_bench.engine.predict import Scorer
from lt_bench.engine.segment import SceneScorer, confusion_by_image
from lt_bench.evaluation.predictions import Predictions
from lt_bench.run.predictions import Networks, keep_predictor, parts_to_predict, predicted


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


def no_predictor(*_: object) -> None:
    """Say that nothing is left to predict new images with."""
    print(
        "lt_bench: note: no new images can be predicted with this run, as segmentation has no predictor yet",
        file=sys.stderr,
    )


TASKS = {
    "classification": Task(Scorer, predicted, keep_predictor),
    "segmentation": Task(SceneScorer, segmented, no_predictor),
}
