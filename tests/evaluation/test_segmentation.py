"""Metrics of pixels against values of the authors' toolbox, and predictions that are counted by image."""

from pathlib import Path

import numpy as np
import pytest
from helpers.golden_vectors import golden

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import Predictions, confusion_matrix, load_predictions, save_predictions
from lt_bench.evaluation.shots import shot_groups


def counted(masks, predicted, classes):
    """Predictions of images (N, H, W) whose masks are 255 where there is no label."""
    rows = []
    for image, (mask, guess) in enumerate(zip(masks, predicted, strict=True)):
        known = mask != 255
        cells = confusion_matrix(mask[known].astype(int), guess[known].astype(int), classes)
        rows += [(image, *place, cells[place]) for place in zip(*cells.nonzero(), strict=True)]
    counts = np.arange(classes, 0, -1)
    return Predictions(by_image=np.array(rows, dtype=int).reshape(-1, 4), train_counts=counts, group_rule="thirds")


@pytest.mark.parametrize("number", range(3))
def test_metrics_are_those_of_the_toolbox(number: int, tmp_path: Path) -> None:
    case = {name: array.numpy() for name, array in golden("region_rebalance_metrics", f"c{number}").items()}
    masks = case["stored_mask"]
    if case["zero_is_ignored"]:
        masks = np.where((masks == 0) | (masks == 255), 255, masks - 1)
    made = counted(masks, case["predicted"], int(case["num_classes"]))
    save_predictions(tmp_path / "p.npz", made)
    found = load_predictions(tmp_path / "p.npz")
    np.testing.assert_array_equal(found.by_image, made.by_image)
    assert found.task == "segmentation" and (tmp_path / "p.npz").stat().st_size < 20_000
    np.testing.assert_array_equal(found.hits, case["intersect"])
    np.testing.assert_array_equal(found.totals, case["true_pixels"])
    np.testing.assert_allclose(found.ious, case["iou"], rtol=1e-12)
    np.testing.assert_allclose(found.accuracies, case["class_accuracy"], rtol=1e-12)
    metrics = evaluate(found)
    for name in ("miou", "mean_accuracy", "pixel_accuracy"):
        np.testing.assert_allclose(metrics[name], case[name], rtol=1e-12)
    few = found.ious[shot_groups(found.train_counts, "thirds")["few"]]
    assert metrics["few"] == pytest.approx(np.nanmean(few))
    assert not {"top1", "test_counts", "nll"} & metrics.keys()
    assert [iou is None for iou in metrics["per_class_iou"]] == np.isnan(found.ious).tolist()


def test_a_class_that_is_predicted_and_does_not_occur_has_an_iou_of_0() -> None:
    found = counted(np.array([[[0, 0, 255]]]), np.array([[[0, 1, 2]]]), 3)
    np.testing.assert_array_equal(found.ious, [0.5, 0.0, np.nan])
    assert evaluate(found)["miou"] == 0.25


def test_no_labelled_pixel_is_no_number() -> None:
    found = evaluate(counted(np.full((1, 2, 2), 255), np.zeros((1, 2, 2)), 3))
    assert [found[name] for name in ("miou", "pixel_accuracy", "mean_accuracy", "few")] == [None] * 4


@pytest.mark.parametrize("rows", [[[0, 0, 3, 1]], [[0, 0, -1, 1]], [[0, 0, 1]], [[0.0, 1.0, 1.0, 1.0]]])
def test_counts_that_there_cannot_be_are_refused(rows: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="confusion by image"):
        Predictions(by_image=np.array(rows), train_counts=np.ones(3, dtype=int), group_rule="thirds")
