"""Masks of new images by a run of scenes: the same as in its evaluation, written, exported, and what is refused."""

import csv
import json

import numpy as np
import pytest
import torch
from helpers.chain import tiny
from PIL import Image
from safetensors.torch import load_file

import lt_bench
from lt_bench.data.palette import overlaid, palette
from lt_bench.data.scene_transform import SceneTransform
from lt_bench.data.sources.digit_scenes import load as digit_scenes
from lt_bench.data.transform import Transform
from lt_bench.errors import DataError, UsageError
from lt_bench.evaluation.predictions import confusion_matrix, load_predictions
from lt_bench.export.__main__ import main as export
from lt_bench.models.fcn import TwoPassFCN
from lt_bench.predict.__main__ import main
from lt_bench.predict.predictor import Predictor, load
from lt_bench.predict.scenes import ScenePredictor
from lt_bench.run.execute import execute

WORDS = ("method=region_rebalance", "method.second_pass=true", "dataset=digit_scenes", "backbone=tiny", "threads=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = (*WORDS, "train.epochs=1", "method.channels=8")
    return execute(tiny(tmp_path_factory.mktemp("runs"), *words))[1]


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    """The folder of a predictor of classification."""
    folder = tmp_path_factory.mktemp("images")
    half, node = (0.5, 0.5, 0.5), {"_target_": "lt_bench.models.tiny.TinyEncoder"}
    encoder, classifier = lt_bench.models.tiny.TinyEncoder(), torch.nn.Linear(64, 3)
    names = {"class_names": tuple("abc"), "node": node}
    Predictor(encoder=encoder, classifier=classifier, transform=Transform(8, 1.0, half, half), **names).save(folder)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Three images of several sizes at two depths, one of them broken."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    random = np.random.RandomState(0)
    for name, size in (("a.png", (30, 20, 3)), ("deep/b.jpg", (48, 60, 3))):
        Image.fromarray(random.randint(0, 255, size, dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_what_is_kept_says_what_the_run_said(run):
    predictor, made = lt_bench.load(run), load_predictions(run / "predictions.npz")
    assert isinstance(predictor, ScenePredictor) and isinstance(predictor.classifier, TwoPassFCN)
    assert predictor.class_names[:3] == ("background", "0", "1")
    images, masks = digit_scenes(run, 0, 20).test
    total = np.zeros((11, 11), dtype=np.int64)
    for image, mask in zip(images[:20], masks[:20], strict=True):
        guess = predictor.mask(Image.fromarray(image.transpose(1, 2, 0)))
        known = mask != 255
        total += confusion_matrix(mask[known].astype(int), guess[known].astype(int), 11)
    rows = made.by_image[made.by_image[:, 0] < 20]
    expected = np.zeros_like(total)
    np.add.at(expected, (rows[:, 1], rows[:, 2]), rows[:, 3])
    assert np.abs(total - expected).sum() <= 4  # a pixel between two classes may fall on either side


def test_masks_overlays_and_shares_are_written(run, photos, tmp_path, capsys):
    out, table = tmp_path / "out", tmp_path / "shares.csv"
    words = [str(run), str(photos), "--masks", str(out), "--overlay", "--no-progress"]
    assert main([*words, "--csv", str(table)]) == 1  # one is broken
    assert "broken.png is not a complete image" in capsys.readouterr().err
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert found == ["a.png", "a_overlay.png", "deep/b.png", "deep/b_overlay.png"]
    predictor = lt_bench.load(run)
    with Image.open(out / "deep/b.png") as image:
        mask, mode = np.asarray(image), image.mode
    assert mode == "P" and mask.shape == (48, 60)
    np.testing.assert_array_equal(mask, predictor.mask(photos / "deep/b.jpg"))
    with Image.open(out / "deep/b_overlay.png") as image:
        np.testing.assert_array_equal(np.asarray(image), overlaid(predictor.transform.rgb(photos / "deep/b.jpg"), mask))
    rows = {row["image"].rpartition("/")[2]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
    shares = np.array([float(rows["b.jpg"][name]) for name in predictor.class_names])
    np.testing.assert_allclose(shares, np.bincount(mask.ravel(), minlength=11) / mask.size, atol=1e-6)
    assert rows["broken.png"]["problem"] and not rows["broken.png"]["background"]
    assert main([*words, "--top", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].count("%") == 1


def test_what_cannot_be_is_said_in_one_line(run, of_images, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twin = photos / "a.jpg"
    Image.new("RGB", (8, 8)).save(twin)
    for words, said in (
        ([run, photos, "--workers", "2"], "--workers: "),
        ([run, twin, photos / "a.png"], "would both have the file"),
        ([run, photos / "a.png", "--masks", photos], "is an image itself"),
        ([run, photos / "a.png", "--masks", twin], "is no folder"),
        ([of_images, photos, "--overlay"], "is a run of classification, which has no use for it"),
    ):
        assert main([*map(str, words), "--no-progress"]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("masks/**/*.png"))
    with pytest.raises(UsageError, match="is a run of segmentation, and one of classification is needed"):
        load(run)


def test_a_damaged_transform_is_refused(run, tmp_path):
    from dataclasses import replace

    predictor = lt_bench.load(run)
    for wrong in ({"size": 0}, {"fit": "yes"}, {"pixels": "all"}, {"std": (0.0, 1.0, 1.0)}):
        replace(predictor, transform=replace(predictor.transform, **wrong)).save(tmp_path)
        with pytest.raises(DataError, match="is damaged"):
            lt_bench.load(tmp_path)
    replace(predictor, class_names=predictor.class_names[:5]).save(tmp_path)
    with pytest.raises(DataError, match="do not fit 5 classes"):
        lt_bench.load(tmp_path)


def test_images_are_fitted_as_files_of_scenes_are():
    transform = SceneTransform(32, True, (0.5,) * 3, (0.5,) * 3)
    assert transform(Image.new("RGB", (120, 60))).shape == (3, 32, 64)
    assert transform(Image.new("RGB", (1000, 10))).shape == (3, 1, 128)


def test_an_export_is_compared_and_its_card_has_mean_iou(run, tmp_path):
    assert export([str(run), "--to", str(tmp_path / "model")]) == 0
    state, predictor = load_file(tmp_path / "model/model.safetensors"), lt_bench.load(run)
    assert torch.equal(state["classifier.conv_seg.weight"], predictor.classifier.conv_seg.weight)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    logits = torch.export.load(tmp_path / "model/model.pt2").module()(images)
    assert logits.shape == (2, 11, 48, 48)
    torch.testing.assert_close(logits, predictor.network()(images), rtol=1e-4, atol=1e-4)
    card = (tmp_path / "model/README.md").read_text()
    metrics = json.loads((run / "record.json").read_text())["metrics"]
    assert f"| {100 * metrics['many']:.1f} |" in card and "mIoU" in card and "163 to 6 have each of 11 classes" in card
    groups = [one["group"] for one in json.loads((tmp_path / "model/labels.json").read_text())]
    assert groups.count("few") == 3 and groups[0] == "many"


def test_colours_of_classes_are_those_of_the_colour_map_and_pixels_without_a_label_stay():
    colours = palette()
    assert colours[[0, 1, 2, 3]].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert len(np.unique(colours[:255], axis=0)) == 255 and not colours[255].any()
    image = np.full((1, 2, 3), 100, dtype=np.uint8)
    assert overlaid(image, np.array([[255, 0]], dtype=np.uint8)).tolist() == [[[100] * 3, [114, 50, 50]]]
