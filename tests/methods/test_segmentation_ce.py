"""FCN: what a run of it records, what it goes together with, and its heads on encoders of one and of several stages."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.chain import execute, resumed_in_its_last_epoch, tiny
from helpers.configs import refusal
from helpers.engine_parts import one_process
from torch import nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.data.batches.scenes import InMemoryScenes
from lt_bench.engine.segment import SceneScorer, confusion_by_image
from lt_bench.errors import DataError, SettingError, UsageError
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.figures.__main__ import main as figures
from lt_bench.methods.segmentation_ce import Dropout, SegmentationCE
from lt_bench.models.masks import NO_LABEL
from lt_bench.models.resnet import basic_resnet
from lt_bench.models.tiny import TinyEncoder
from lt_bench.record.curves import CURVES, read_curves
from lt_bench.report.__main__ import main as report

WORDS = ("method=segmentation_ce", "dataset=digit_scenes", "backbone=tiny", "train.epochs=2")
INFO = TrainInfo(torch.zeros(0), 3, 1, counts=torch.tensor([5, 3, 1]))


def made(count=4, size=16, classes=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, size, size, generator=generator)
    mask = torch.randint(0, classes, (count, size, size), generator=generator).to(torch.uint8)
    mask[:, :3] = 255
    return Batch((images,), mask, torch.arange(count))


def test_a_run_that_was_killed_ends_as_if_it_had_not_been_and_is_measured_by_pixels(tmp_path, monkeypatch):
    found = resumed_in_its_last_epoch(monkeypatch, tmp_path, *WORDS)["record"]
    metrics = found["metrics"]
    assert {"miou", "pixel_accuracy", "mean_accuracy", "per_class_iou", "many", "medium", "few"} <= metrics.keys()
    assert metrics["train_counts"] == [163, 91, 65, 49, 39, 28, 20, 16, 9, 8, 6] and "top1" not in metrics


def _metrics(folder):
    return json.loads((folder / "record.json").read_text())["metrics"]


def test_tables_and_the_page_show_what_is_measured_of_pixels_beside_what_is_of_images(tmp_path, capsys):
    quick = ("train.epochs=1", "budget.max_steps_per_epoch=1", "stage_two=none")
    for words in ((*WORDS, "seed=0"), (*WORDS, "seed=1"), (*WORDS, "method.dropout=0", "seed=0")):
        execute(tiny(tmp_path, *words, *quick))
    execute(tiny(tmp_path, "method=ce", *quick))
    out = tmp_path / "tables"
    shown = ["--runs", str(tmp_path), "--out", str(out), "--format", "csv"]
    assert report([*shown, "--baseline", "FCN / –, dropout 0.0"]) == 0
    assert report(["page", "--runs", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    paired = next(csv for csv in out.glob("digit_scenes*_vs_*.csv")).read_text().splitlines()[0]
    assert "mIoU_difference" in paired and "all_difference" not in paired
    page = (tmp_path / "page.html").read_text()
    assert "IoU of the classes in %" in page and "Share of the pixels of each class" in page
    assert {"mIoU", "all"} <= set(re.findall(r">(\w+)</button>", page))
    capsys.readouterr()
    sides = ["method=segmentation_ce method.dropout=default seed=0", "method.dropout=0.0"]
    assert report(["compare", *sides, "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "points of mean IoU that A is above B" in said and "many-shot IoU" in said and "McNemar" not in said
    assert "bootstrap of all test images together" in " ".join(said.split())
    assert report(["compare", "method=ce", "method.dropout=0.0", "--runs", str(tmp_path)]) == 1
    assert "runs on other data are no pairs" in capsys.readouterr().err
    assert report(["--runs", str(tmp_path), "--where", "dataset=digit_scenes", "--ranks"]) == 1
    assert "--ranks by mIoU" in capsys.readouterr().err
    run = next(path.parent for path in tmp_path.glob("*/predictions.npz") if "miou" in _metrics(path.parent))
    assert report(["eval", str(run), "--per-class", "--confusion"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "mIoU" in said and "worst class" not in said and "IoU of each class in %" in said and "pixels" in said
    of_scenes = ["confusion", "class_accuracy", "reliability", "embedding", "confused_images"]
    shown = [
        str(tmp_path),
        "--rows",
        "FCN",
        "--kind",
        *of_scenes,
        "--format",
        "svg",
        "--out",
        str(tmp_path / "figures"),
    ]
    assert figures(shown) == 0
    said = capsys.readouterr()
    assert said.err.count("it is of single images, and these runs are of pixels") == 3
    confusion = next((tmp_path / "figures").glob("*confusion*.svg")).read_text()
    assert "class_accuracy" in said.out and "pixels in %" in confusion


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=segmentation_ce"], "method=segmentation_ce is for segmentation and dataset=digits_lt is of"),
        (["method=ce", "dataset=digit_scenes"], "set method= to one of region_rebalance, segmentation_ce"),
        ([*WORDS[:2], "stage_two=cb"], "stage_two=cb is for classification"),
        ([*WORDS[:2], "train.sampler=balanced"], "train.sampler=balanced is for images of one class each"),
        ([*WORDS[:2], "evaluation.views=five", "evaluation.expand=4"], "evaluation.views=five is for images"),
        ([*WORDS[:2], "dataset.validation_per_class=2"], "set dataset.validation_per_class=0"),
        ([*WORDS[:2], "evaluation.split=validation"], "there is none; set dataset.validation_fraction=0.2"),
        ([*WORDS[:2], "dataset.validation_fraction=1"], "set it below 1"),
        ([*WORDS[:2], "dataset.pixels=shown"], "set dataset.pixels=plain"),
    ],
)
def test_what_is_for_another_task_is_refused(words, said):
    assert said in refusal(*words)


def test_the_epoch_is_chosen_by_mean_iou_on_scenes_that_are_set_aside(tmp_path):
    words = (*WORDS, "dataset.validation_fraction=0.2", "evaluation.select=best_validation", "method.channels=8")
    record, folder = execute(tiny(tmp_path, *words))
    scores = [row["selection_score"] for row in read_curves(folder.parent / record.stage_one_id / CURVES)]
    chosen = record.epochs["chosen"]["train"]["epoch"]
    assert len(scores) == 2 and chosen == int(np.argmax(scores))
    made = load_predictions(folder / "predictions.npz")
    assert made.validation.ious[made.validation.totals > 0].size == 11  # every class is in the part
    assert evaluate(made.validation)["miou"] == pytest.approx(scores[chosen], abs=1e-6)
    again, _ = execute(tiny(tmp_path, *words, "evaluation.split=validation"))
    assert again.metrics["miou"] == pytest.approx(scores[chosen], abs=1e-6)


def test_what_is_scored_is_the_same_whatever_is_computed_together():
    batch = made(count=5)
    scenes = InMemoryScenes((batch.views[0] * 20 + 100).clamp(0, 255).to(torch.uint8), batch.labels, _plain)
    method = SegmentationCE(TinyEncoder(), INFO, channels=4)
    networks = method.encoder, method.classifier
    rows = confusion_by_image(networks, scenes, 3, 2)
    assert torch.equal(rows, confusion_by_image(networks, scenes, 3, 5))  # whatever is computed together
    assert int(rows[:, 3].sum()) == int((batch.labels != 255).sum()) and rows[:, 0].unique().tolist() == [*range(5)]
    assert 0 <= SceneScorer(method, scenes, 3, 5)() <= 1
    scenes.labels[:] = NO_LABEL
    with pytest.raises(DataError, match="none of the 5 held-out scenes has a pixel with a label"):
        confusion_by_image(networks, scenes, 3, 2)


def _plain(view):
    from lt_bench.augment.pipeline import Pipeline

    return Pipeline([], [0.5] * 3, [0.25] * 3)


def test_an_encoder_of_several_stages_has_an_auxiliary_head():
    method = SegmentationCE(basic_resnet((1, 1, 1, 1)), INFO, channels=8, auxiliary_channels=8)
    terms = method(made(size=64), 0, 0, one_process(None))
    torch.testing.assert_close(terms["loss"].detach(), terms["loss_pixel"] + terms["loss_auxiliary"])
    terms["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert SegmentationCE(TinyEncoder(), INFO).auxiliary is None


def test_dropout_is_that_of_the_joined_batch_whole_channels_of_maps_and_single_values_else():
    context = one_process(None)
    maps, rows = torch.ones(4, 50, 2, 3), torch.ones(4, 50)
    dropped = Dropout(0.5, context, 1, 2)(maps, "features")
    assert torch.equal(dropped, dropped[:, :, :1, :1].expand_as(dropped)) and set(dropped.unique().tolist()) == {0, 2}
    assert torch.equal(dropped, Dropout(0.5, context, 1, 2)(maps, "features"))
    assert not torch.equal(dropped, Dropout(0.5, context, 1, 3)(maps, "features"))
    context.world_size, context.rank = 2, 1
    assert torch.equal(Dropout(0.5, context, 1, 2)(maps[:2], "features"), dropped[2:])
    whole = Dropout(0.5, context, 1, 2)(rows, "regions", everywhere=True)
    context.rank = 0
    assert torch.equal(Dropout(0.5, context, 1, 2)(rows, "regions", everywhere=True), whole)


@pytest.mark.parametrize("values", [{"views": []}, {"channels": 0}, {"dropout": 1.0}, {"auxiliary_weight": -1.0}])
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(SettingError):
        SegmentationCE(TinyEncoder(), INFO, **values)


def test_an_encoder_without_maps_is_refused():
    encoder = nn.Linear(3, 4)
    encoder.feature_dim = 4
    with pytest.raises(SettingError, match="encoders with maps"):
        SegmentationCE(encoder, INFO)


def test_masks_move_with_their_images_and_views_that_they_cannot_follow_are_refused(tmp_path):
    from lt_bench.augment.views import build_view

    dataset = tiny(tmp_path, *WORDS, "dataset.horizontal_flip=true").dataset
    dataset.mean, dataset.std, dataset.image_size = [0.0] * 3, [1.0] * 3, 16
    mask = made().labels.clamp(max=254)
    images = mask[:, None].expand(-1, 3, -1, -1).contiguous()  # images that are their masks
    for branch_free in (False, True):
        scenes = InMemoryScenes(images, mask, lambda view: build_view(view, dataset))
        scenes._branch_free = branch_free
        batch = scenes.batch(torch.arange(4), slice(0, 4), ["crop_flip"], torch.Generator().manual_seed(0))
        inside = batch.labels != 255
        assert inside.any() and not inside.all() and not torch.equal(batch.labels, mask)
        shown = (batch.views[0][:, 0] * 255).round().to(torch.uint8)
        assert torch.equal(shown[inside], batch.labels[inside]) and not shown[~inside].any()
    with pytest.raises(UsageError, match="RandomResizedCrop, which masks cannot follow"):
        scenes.view("simclr")
