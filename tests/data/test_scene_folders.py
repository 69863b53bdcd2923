"""Scenes in files: the published layouts, what is wrong with them, and a whole run of a tiny one."""

import io
import shutil
import zlib

import numpy as np
import pytest
import torch
from helpers.chain import results, tiny
from helpers.golden_vectors import golden
from PIL import Image

from lt_bench.data.__main__ import main
from lt_bench.data.batches.scene_crops import SceneCrops, fitted, nearest, resized
from lt_bench.data.files.rgb import BadImage
from lt_bench.data.files.scene_pixels import ScenePixels, classes_by_image
from lt_bench.data.load import load_data
from lt_bench.data.sources import scene_counts
from lt_bench.data.sources.scene_folders import UNKNOWN, ade20k, coco_stuff_164k
from lt_bench.errors import DataError, UsageError
from lt_bench.evaluation.shots import shot_groups
from lt_bench.run.execute import execute

ADE = {"train": "training", "test": "validation"}
COCO = {"train": "train2017", "test": "val2017"}


def tree(root, parts, counts=(6, 3), values=(0, 1, 2, 3), ending=".png"):
    """Images of several sizes with masks of some values, in the layout of a data set."""
    random = np.random.RandomState(0)
    for (_, name), count in zip(parts.items(), counts, strict=True):
        for folder in ("images", "annotations"):
            (root / folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = 24 + 4 * number, 40
            mask = np.array(values, dtype=np.uint8)[random.randint(0, len(values), (height // 8 + 1, width // 8 + 1))]
            mask = mask.repeat(8, 0).repeat(8, 1)[:height, :width]
            image = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
            Image.fromarray(image).save(root / "images" / name / f"{number}.jpg")
            Image.fromarray(mask).save(root / "annotations" / name / f"{number}{ending}")
    return root


def test_counts_and_tables_are_the_published_ones():
    case = golden("region_rebalance_frequencies")
    for name, counts, third in (
        ("ade20k", scene_counts.ADE20K, "ade20k_third"),
        ("cocostuff164k", scene_counts.COCO_STUFF_164K, "cocostuff164k_third"),
    ):
        assert counts == case[f"{name}_image_counts"].tolist()
        groups = shot_groups(np.array(counts), "thirds")
        assert [case[third][groups[group]].unique().tolist() for group in groups] == [[0], [1], [2]]


def test_the_stored_values_of_both_data_sets_are_classes(tmp_path):
    table = ade20k(tree(tmp_path / "ade", ADE)).tables[""]
    assert table[[0, 1, 150, 255]].tolist() == [255, 0, 149, 255] and set(table[151:255].tolist()) == {UNKNOWN}
    stored = golden("region_rebalance_frequencies")["coco_stuff_stored_to_train"].numpy()
    coco = coco_stuff_164k(tree(tmp_path / "coco", COCO)).tables[""]
    known = coco != UNKNOWN
    np.testing.assert_array_equal(coco[known], stored[known])
    assert set(stored[~known].tolist()) == {255}
    converted = coco_stuff_164k(tree(tmp_path / "converted", COCO, ending="_labelTrainIds.png"))
    table = converted.tables["_labelTrainIds"]
    assert table[[0, 170, 171, 255]].tolist() == [0, 170, UNKNOWN, 255] and not converted.problems


def test_a_converted_mask_is_read_as_one_also_beside_stored_ones_which_win(tmp_path):
    root = tree(tmp_path / "coco", COCO, values=(0, 100, 181))
    masks = root / "annotations" / "train2017"
    before = coco_stuff_164k(root)
    stored = ScenePixels(root, before.train, before.tables)
    for position in (1, 2):
        Image.fromarray(stored.mask(position)).save(masks / f"{position}_labelTrainIds.png")
    (masks / "1.png").unlink()
    found = coco_stuff_164k(root)
    assert [name.rpartition("/")[2] for name in found.train.masks[:3]] == ["0.png", "1_labelTrainIds.png", "2.png"]
    again = ScenePixels(root, found.train, found.tables)
    np.testing.assert_array_equal(again.mask(2), stored.mask(2))
    image, mask = again.pair(1)
    assert set(mask.ravel().tolist()) == {0, 89, 170} and image.shape[:2] == mask.shape and not found.problems
    other = tree(tmp_path / "ade", ADE, ending="_labelTrainIds.png")  # no data set of its own has such masks
    assert "annotations/training/0_labelTrainIds.png has no image in images/training" in ade20k(other).problems


def small_grey(mask):
    """A mask of values below 16 as a PNG file of grey with 4 bits."""
    stream = io.BytesIO()
    image = Image.fromarray(mask)
    image.putpalette([0] * 48)
    image.save(stream, "PNG", bits=4)
    data = bytearray(stream.getvalue())
    data[25] = 0  # grey instead of a palette
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def stored_as(mode, kind="PNG"):
    def written(mask):
        stream = io.BytesIO()
        Image.fromarray(mask.astype(np.uint16) if mode == "I;16" else mask).convert(mode).save(stream, kind)
        return stream.getvalue()

    return written


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (small_grey, "has 4-bit numbers, and masks have 8-bit ones, or a palette"),
        (stored_as("1"), "has 1-bit numbers"),
        (stored_as("I;16"), "has 16-bit numbers"),
        (stored_as("LA"), "is a picture"),
        (stored_as("L", "JPEG"), "is a JPEG file, and masks are PNG files, which keep every number"),
        (stored_as("L", "GIF"), "is a GIF file"),
    ],
)
def test_a_mask_whose_numbers_may_be_others_is_refused(written, said, tmp_path):
    found = ade20k(tree(tmp_path / "ade", ADE))
    mask, path = np.arange(12, dtype=np.uint8).reshape(2, 6), tmp_path / "ade" / found.train.masks[1]
    path.write_bytes(written(mask))
    with pytest.raises(BadImage, match=f"^annotations/training/1.png {said}"):
        ScenePixels(found.root, found.train, found.tables).mask(1)


def test_names_in_capitals_are_read_and_what_is_left_out_is_told(tmp_path):
    root = tree(tmp_path / "ade", ADE)
    images, masks = (root / folder / "training" for folder in ("images", "annotations"))
    (images / "1.jpg").rename(images / "1.JPG")
    (masks / "2.png").rename(masks / "2.PNG")
    for hidden in (images / "._1.jpg", images / ".DS_Store", images / "list.txt"):
        hidden.write_bytes(b"no image")
    found = ade20k(root)
    assert (len(found.train.images), found.problems) == (6, [])
    shutil.copy(images / "0.jpg", images / "0.JPG")
    (images / "3.jpg").rename(images / "3.jpeg")
    said = "\n".join(ade20k(root).problems)
    assert "images/training/0.JPG and images/training/0.jpg have one name" in said
    assert "images/training/3.jpeg is no *.jpg, which images/training has alone; convert it, or take it away" in said
    for path in images.glob("*.[jJ]*"):
        path.rename(path.with_suffix(".bmp"))
    with pytest.raises(DataError, match=r"has no file \*.jpg \(images/training/.*.bmp is no \*.jpg"):
        ade20k(root)


def test_a_part_without_a_label_is_refused_before_and_in_training(tmp_path, capsys):
    root = tree(tmp_path / "ade", ADE)
    for path in (root / "annotations" / "training").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    assert main(["check", *words(root, "progress=false")]) == 1
    said = capsys.readouterr().out
    assert "no mask in annotations/training has a pixel with a label" in said and "1 problem found" in said
    assert "training: 6 scenes, 20,210 as published" in said
    with pytest.raises(DataError, match="no mask in annotations/training has a pixel with a label"):
        load_data(tiny(tmp_path, *words(root)), torch.device("cpu"))


@pytest.mark.parametrize(
    ("override", "said"),
    [("dataset.validation_fraction=0.2", "sets no scene aside"), ("dataset.num_classes=151", "ade20k has 150")],
)
def test_check_refuses_what_a_run_refuses(override, said, tmp_path, capsys):
    overrides = words(tree(tmp_path / "ade", ADE, counts=(3, 3)), "progress=false", override)
    assert main(["check", *overrides]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match=said):
        load_data(tiny(tmp_path, *overrides), torch.device("cpu"))


def test_a_mask_that_is_broken_later_is_read_again(tmp_path):
    data = load_data(tiny(tmp_path, *words(tree(tmp_path / "ade", ADE))), torch.device("cpu"))
    assert data.test.unreadable({}, "reading", False) == []
    (tmp_path / "ade" / "annotations" / "validation" / "1.png").write_bytes(b"no image")
    (problem,) = data.test.unreadable({}, "reading", False)
    assert "annotations/validation/1.png is not a complete image" in problem


def test_images_of_other_numbers_are_counted_by_their_classes(tmp_path):
    config = tiny(tmp_path, *words(tree(tmp_path / "ade", ADE)))
    found = ade20k(tmp_path / "ade")
    counts = classes_by_image(config, found, 0).sum(0)
    masks = [ScenePixels(found.root, found.train, found.tables).mask(position) for position in range(6)]
    assert counts.tolist()[:4] == [sum((mask == label).any() for mask in masks) for label in range(4)]
    data = load_data(config, torch.device("cpu"))
    assert data.train_counts.tolist() == counts.tolist() and len(data.train_counts) == 150
    config.dataset.validation_fraction = 0.2
    data = load_data(config, torch.device("cpu"))
    assert (len(data.train.labels), len(data.validation.labels)) == (5, 1) and data.train_counts.max() == 5


def words(root, *more):
    return (
        "method=segmentation_ce",
        "dataset=ade20k",
        f"dataset.root={root}",
        "dataset.image_size=16",
        "dataset.workers=0",
        "backbone=tiny",
        "backbone.pretrained=null",
        *more,
    )


def test_check_finds_every_problem(tmp_path, capsys):
    root = tree(tmp_path / "ade", ADE)
    masks = root / "annotations" / "training"
    (masks / "0.png").unlink()
    (root / "images" / "training" / "1.jpg").rename(root / "images" / "training" / "9.jpg")
    Image.fromarray(np.full((4, 4), 1, dtype=np.uint8)).save(masks / "2.png")
    Image.fromarray(np.full((36, 40), 200, dtype=np.uint8)).save(masks / "3.png")
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(masks / "4.png")
    assert main(["check", *words(root, "progress=false")]) == 1
    said = capsys.readouterr().out
    for problem in (
        "images/training/0.jpg has no mask in annotations/training",
        "images/training/9.jpg has no mask in annotations/training",
        "annotations/training/1.png has no image in images/training",
        "images/training/2.jpg has 40 x 32 pixels and its mask 4 x 4",
        "annotations/training/3.png has the value 200, which is no class of the data set",
        "annotations/training/4.png is a picture (Pillow's mode RGB), and a mask has a number for each pixel",
        "6 problems found in ADE20K",
    ):
        assert problem in said
    with pytest.raises(DataError, match="has no mask in"):
        load_data(tiny(tmp_path, *words(root)), torch.device("cpu"))
    with pytest.raises(DataError, match="set dataset.root to the folder that has images/training"):
        ade20k(tmp_path / "nowhere")


@pytest.mark.parametrize("rule", ["bytes", "sample"])
def test_a_broken_scene_is_named_without_the_advice_to_leave_it_out(rule, tmp_path):
    root = tree(tmp_path / "ade", ADE)
    (root / "images" / "training" / "1.jpg").write_bytes(b"no image")
    more = ("train.epochs=1", "train.batch_size=4", "method.channels=4", f"dataset.content_rule={rule}")
    with pytest.raises(DataError, match=r"(?s)^images/training/1\.jpg .* check, with the same overrides") as caught:
        execute(tiny(tmp_path / "run", *words(root, *more)))
    assert "on_bad_image" not in str(caught.value)


def test_a_run_of_scenes_in_files_does_not_depend_on_its_workers(tmp_path):
    root = tree(tmp_path / "ade", ADE)
    more = ("train.epochs=1", "train.batch_size=4", "method.channels=4")
    found = [
        results(*execute(tiny(tmp_path / f"{workers}", *words(root, *more, f"dataset.workers={workers}"))))
        for workers in (0, 1)
    ]
    np.testing.assert_array_equal(*(one["predictions"] for one in found))
    metrics = found[0]["record"]["metrics"]
    assert 0 <= metrics["miou"] <= 1 and found[0]["predictions"][:, 0].max() == 2


def test_a_crop_moves_the_mask_as_its_image_and_has_no_label_beside_it():
    random = np.random.RandomState(0)
    mask = random.randint(0, 4, (6, 9)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    image = np.repeat(60 * mask[..., None], 3, axis=2)  # an image that is its mask
    for seed in range(8):
        crops = SceneCrops.draw(32, True, 2, torch.Generator().manual_seed(seed))
        cut = crops.take(slice(1, 2)).cut(image, mask, 0)
        assert cut.image.shape == (32, 32, 3) and cut.mask.shape == (32, 32)
        height, width = cut.inside.tolist()
        inside = cut.mask[:height, :width]
        assert (inside != 255).all() and (cut.mask[height:] == 255).all() and (cut.mask[:, width:] == 255).all()
        near = (cut.image[:height, :width, 0].float() / 60 - inside).abs() < 0.01
        assert near.float().mean() > 0.4  # away from the edges, where the image is interpolated
        again = crops.cut(image, mask, 1)
        assert all(torch.equal(one, other) for one, other in zip(cut, again, strict=True))


def test_a_place_with_one_class_is_given_up_for_another():
    mask = np.zeros((40, 400), dtype=np.uint8)
    mask[:, :8:2] = 1
    crops = SceneCrops(8, np.ones(1), np.zeros((1, 11, 2)), np.zeros(1, dtype=bool))
    crops.places[0, 0] = 0.99  # one class alone
    assert crops._place(mask, 0) == (0, 0)
    crops.places[0, 1:10] = 0.98
    assert crops._place(mask, 0) == (0, 0)  # the eleventh
    crops.places[0, 10] = 0.97
    assert crops._place(mask, 0) != (0, 0)


def test_sizes_fit_a_short_and_a_long_side():
    assert fitted((512, 683), 512) == (512, 683) and fitted((100, 1000), 512) == (205, 2048)
    assert fitted((300, 400), 512, 0.5) == (256, 341)
    assert nearest(np.arange(6, dtype=np.uint8)[None], 1, 4).tolist() == [[0, 1, 3, 4]]
    assert resized(np.full((2, 2, 3), 9, dtype=np.uint8), 3, 5).unique().tolist() == [9]
