"""The model card of a run of scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lt_bench.evaluation.metrics import HEADLINES
from lt_bench.evaluation.shots import RULES
from lt_bench.export.card import head, limits_of_classes, limits_of_run, programs
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
    untested = [label for label, iou in enumerate(record.metrics.get("per_class_iou") or []) if iou is None]
    yield from ("## Limits", "")
    yield "- It knows these classes alone, and names one of them for every pixel, whatever is there."
    yield from limits_of_classes(record, predictor.class_names, untested, "a pixel")
    yield from limits_of_run(record)
    yield ""
