"""The model card of a run of scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lt_bench.evaluation.metrics import HEADLINES
from lt_bench.evaluation.shots import GROUPS, RULES, shot_groups
from lt_bench.export.card import head, limits_of_run, listed, programs
from lt_bench.predict.scenes import ScenePredictor
from lt_bench.record.record import RunRecord
from lt_bench.report.escape import markdown

COLUMNS = (*HEADLINES["segmentation"], "pixel_accuracy", "mean_accuracy")
TITLES = ("many", "medium", "few", "mIoU", "pixel accuracy", "mean accuracy of classes")


def scene_card(record: RunRecord, predictor: ScenePredictor, forms: Mapping[str, float]) -> str:
    """The card as Markdown; ``forms`` are the programs, by file, each with the largest difference of its logits."""
    counts = record.metrics["train_counts"]
    trained = f"{max(counts):,} to {min(counts):,} have each of {len(counts):,} classes" if counts else "unknown"
    parts = (
        head(record, predictor.transform.size, {"training images": trained}),
        _numbers(record),
        _use(predictor, forms),
        _limits(record, predictor),
    )
    return "\n".join(line for part in parts for line in part)


def _numbers(record: RunRecord) -> Iterator[str]:
    described = RULES[record.group_rule].description if record.group_rule in RULES else record.group_rule
    yield from ("## How well", "")
    yield (
        f"Mean IoU in % on {markdown(record.evaluated_on)} images, of all classes and of groups by the training images "
        f"that have pixels of a class: {markdown(described)}."
    )
    cells = [record.metrics.get(name) for name in COLUMNS]
    shown = ["–" if cell is None else f"{100 * cell:.1f}" for cell in cells]
    yield from ("", f"| {' | '.join(TITLES)} |", "|" + "---:|" * len(TITLES), f"| {' | '.join(shown)} |", "")


def _use(predictor: ScenePredictor, forms: Mapping[str, float]) -> Iterator[str]:
    transform = predictor.transform
    fitted = f"fitted as a whole, short side {transform.size} and long side {4 * transform.size} at most, bilinear"
    yield from ("## How to use it", "")
    yield (
        "`labels.txt` has the classes in the order of the logits, `labels.json` the training images that have them and "
        "their groups; `preprocessing.json` how an image becomes what the network takes: "
        f"{fitted if transform.fit else 'at its own size'}, mean and standard deviation of each colour. Logits "
        "(B, C, H, W) are of every pixel; the class of a pixel is the largest."
    )
    yield (
        f"Programs take images of {transform.size} x {transform.size} pixels; the weights in `model.safetensors`, with "
        "`encoder` and `classifier` before their names, take any size."
    )
    yield ""
    yield from programs(forms)


def _limits(record: RunRecord, predictor: ScenePredictor) -> Iterator[str]:
    counts, ious = record.metrics["train_counts"] or [], record.metrics.get("per_class_iou") or []
    groups = shot_groups(np.array(counts), record.group_rule) if counts and record.group_rule in RULES else {}
    yield from ("## Limits", "")
    yield "- It knows these classes alone, and names one of them for every pixel, whatever is there."
    if GROUPS[-1] in groups:
        few = [predictor.class_names[label] for label in groups[GROUPS[-1]].tolist()]
        yield f"- Trained on few images, and to be trusted less: {listed(few)}."
    if untested := [predictor.class_names[label] for label, iou in enumerate(ious) if iou is None]:
        yield f"- Never evaluated, for want of a pixel: {listed(untested)}."
    yield from limits_of_run(record)
    yield ""
