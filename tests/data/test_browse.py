"""The sheet of views: the images as they are, draws of every view beside them, for arrays and for files."""

import numpy as np
import pytest
import torch
from helpers.chain import tiny
from helpers.image_trees import image_lists, overrides
from PIL import Image

from lt_bench.data import browse
from lt_bench.data.__main__ import main
from lt_bench.data.load import load_data


def sheet(tmp_path, *words):
    config = tiny(tmp_path, *words)
    data = load_data(config, torch.device("cpu"))
    return browse.collect(config, data), data


def test_images_from_head_to_tail_under_every_view_once(tmp_path):
    found, data = sheet(tmp_path, "method=bcl", "method.views=[crop_flip,simclr,simclr]")
    assert found.views == [("evaluated", 1), ("crop_flip", 4), ("simclr", 4)] and found.cells.shape[:2] == (8, 9)
    counts = data.train_counts
    assert found.names[0] == f"class {counts.argmax()}, {counts.max()} images" and f"{counts.min()} " in found.names[-1]
    first = int(np.flatnonzero(data.train.labels.numpy() == counts.argmax())[0])
    np.testing.assert_array_equal(found.cells[0, 0], data.train.images[first].permute(1, 2, 0).numpy())
    draws = found.cells[:, 5:]
    assert not any(np.array_equal(draws[:, 0], draws[:, other]) for other in (1, 2, 3))
    again, _ = sheet(tmp_path, "method=bcl", "method.views=[crop_flip,simclr,simclr]")
    np.testing.assert_array_equal(again.cells, found.cells)


@pytest.mark.parametrize(
    ("method", "view"), [("ldam_drw", "crop_flip"), ("boosted_cl", "simclr_boosted (full strength)")]
)
def test_views_that_no_setting_names_and_views_with_a_strength(method, view, tmp_path):
    found, _ = sheet(tmp_path, f"method={method}")
    assert found.views == [("evaluated", 1), (view, 4)]


def test_the_command_writes_a_sheet_of_image_files_and_prints_its_path(tmp_path, capsys):
    root = image_lists(tmp_path / "data")
    out = tmp_path / "runs"
    assert main(["browse", *overrides(root), "method=ce", f"output_dir={out}"]) == 0
    path = out / "figures" / "views_imagenet_lt_ce.png"
    assert capsys.readouterr().out.strip() == str(path)
    assert Image.open(path).size[0] > 5 * browse.SIDE


def test_the_name_of_the_file_is_bounded(tmp_path):
    path = browse.browse(tiny(tmp_path, "method=ce", f"dataset.name='{'鸟' * 300}'"))
    assert path.exists() and path.name == f"views_{'鸟' * 30}_ce.png"


def test_small_images_keep_their_pixels_and_long_or_foreign_names_are_drawn():
    cells = np.zeros((2, 3, 8, 8, 3), dtype=np.uint8)
    cells[..., 0] = 255
    names = ["\x1b鸟\udc80" * 90, "class 1, 3 images"]
    picture = browse.draw(browse.Sheet(cells, names, [("evaluated", 1), ("view" * 90, 2)]), "about " * 90)
    pixels = np.asarray(picture)
    assert (pixels == (255, 0, 0)).all(axis=2).sum() == 2 * 3 * 96 * 96


def test_a_wrong_method_is_wrong_usage(tmp_path, capsys):
    assert main(["browse", "method=nothing", f"output_dir={tmp_path}"]) == 2
    assert "nothing" in capsys.readouterr().err
