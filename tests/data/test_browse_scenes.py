"""Sheets of scenes: what is on them, of scenes in memory and in files."""

import numpy as np
import torch
from helpers.chain import tiny
from PIL import Image

from lt_bench.data.browse import browse
from lt_bench.data.browse_scenes import positions_of, scene_cells
from lt_bench.data.load import load_data
from lt_bench.data.palette import overlaid

SCENES = ("method=region_rebalance", "dataset=digit_scenes", "backbone=tiny")


class Plain:
    """Stands for a method that sees images as they are."""

    views = ("plain",)


def test_scenes_stand_beside_their_masks_and_move_with_them(tmp_path):
    config = tiny(tmp_path, *SCENES)
    data = load_data(config, torch.device("cpu"))
    classes = np.array([0, 5, 10])
    positions = positions_of(data, classes)
    masks = data.train.labels.numpy()
    assert all((masks[where] == label).any() for where, label in zip(positions, classes, strict=True))
    assert not any((masks[: positions[2]] == 10).any(axis=(1, 2)))  # the first that has it
    cells, names, headings = scene_cells(config, data, Plain(), classes, 2)
    assert cells.shape == (3, 4, 48, 48, 3) and headings == [("evaluated", 1), ("classes", 1), ("plain", 2)]
    pixels = data.train.images[positions].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(cells[:, 0], pixels)
    for column in (1, 2, 3):  # the plain view moves nothing
        np.testing.assert_array_equal(cells[:, column], overlaid(pixels, masks[positions]))
    assert names[2].split(", ")[0] == "9" and names[2].endswith("background")


def test_the_sheet_of_scenes_is_written_from_files_too(tmp_path):
    for part, count in (("training", 3), ("validation", 1)):
        for folder in ("images", "annotations"):
            (tmp_path / "ade" / folder / part).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 24 + number), "red").save(tmp_path / f"ade/images/{part}/{number}.jpg")
            mask = np.arange(24 + number, dtype=np.uint8)[:, None].repeat(40, 1)
            Image.fromarray(mask).save(tmp_path / f"ade/annotations/{part}/{number}.png")
    words = ("dataset=ade20k", f"dataset.root={tmp_path / 'ade'}", "dataset.image_size=16", "dataset.workers=0")
    config = tiny(tmp_path, "method=segmentation_ce", *words, "backbone=tiny", "backbone.pretrained=null")
    with Image.open(browse(config)) as image:
        assert image.width > 6 * 96 and image.height > 3 * 96
