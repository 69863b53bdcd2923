"""What the networks of a run say of held-out images, and what predicts new images, which stays in the run folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from lt_bench.command import printable
from lt_bench.config.schema import Config
from lt_bench.data.batches.from_disk import DiskImages
from lt_bench.data.load import Data, Images
from lt_bench.data.transform import Transform
from lt_bench.engine.predict import embed_plain, named_logits
from lt_bench.errors import NonFiniteLoss
from lt_bench.evaluation.features import Features, save_features
from lt_bench.evaluation.predictions import Predictions
from lt_bench.models.kept import NotKept
from lt_bench.predict.predictor import Predictor, of_run
from lt_bench.predict.scenes import ScenePredictor
from lt_bench.processes import place
from lt_bench.record.folder import RunFolder

Networks = tuple[nn.Module, nn.Module]  # encoder and classifier


def parts_to_predict(config: Config, data: Data) -> dict[str, Images]:
    """The images that are evaluated on and, where these are the test images, validation images, where there are some.

    The latter are for what is chosen after training, such as the strength of a logit adjustment.
    """
    parts = {"test": data.test} if config.evaluation.split == "test" else {}
    if config.evaluation.split == "validation" or len(data.validation.labels):
        parts["validation"] = data.validation
    return parts


def predicted(config: Config, data: Data, networks: Networks, features_file: Path | None) -> Predictions:
    """What is said of ``parts_to_predict``.

    Features of the images that are evaluated on are kept in the file, the mean over the crops of an image, where that
    is asked for.
    """
    evaluation, (encoder, classifier) = config.evaluation, networks
    made = dict[str, Predictions]()
    for part, images in parts_to_predict(config, data).items():
        features = embed_plain(encoder, images, evaluation.batch_size, config.progress and place().rank == 0)
        logits = named_logits(classifier, features, evaluation.batch_size)
        if not all(bool(torch.isfinite(one).all()) for one in logits.values()):
            raise NonFiniteLoss(f"logits on the {part} split are not finite; {NonFiniteLoss.advice}")
        labels = images.labels.cpu().numpy()
        if part == evaluation.split and features_file is not None and evaluation.save_features:
            save_features(features_file, Features(features.mean(1).cpu().numpy(), labels))
        made[part] = Predictions(
            logits_by_name={name: one.cpu().numpy() for name, one in logits.items()},
            labels=labels,
            train_counts=data.train_counts,
            group_rule=config.dataset.group_rule,
        )
    return replace(made.pop(evaluation.split), validation=made.get("validation"))


def keep_predictor(config: Config, data: Data, networks: Networks, folder: RunFolder, made: Predictions) -> None:
    """Leave what predicts new images in the run folder; what nothing builds again is said."""
    transform = Transform.of(data.seen, isinstance(data.test, DiskImages), data.plain)
    leave(of_run(config, folder.identity, networks, transform, data.class_names, made), folder)


def leave(predictor: Predictor | ScenePredictor, folder: RunFolder) -> None:
    """Write a predictor into its run folder, or say that nothing builds its networks again."""
    try:
        predictor.save(folder.path)
    except NotKept as error:
        print(
            f"lt_bench: note: no new images can be predicted with this run: {printable(str(error))}",
            file=sys.stderr,
        )
