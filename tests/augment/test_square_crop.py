"""Square crops against the authors' code of LIFT+, and views that change with the epoch."""

import numpy as np
import pytest
import torch
from helpers.golden_vectors import golden
from scipy import stats

from lt_bench.augment.square_crop import SquareCrop, SquareCropParams
from lt_bench.augment.views import build_view, in_epoch
from lt_bench.config.compose import compose
from lt_bench.data.batches.crops import CentralCrops, SplitView
from lt_bench.errors import SettingError
from lt_bench.preflight.validate import validate

MIDDLE = CentralCrops(32, 0.875)


def dataset(name="cifar10_lt"):
    return validate(compose([f"dataset={name}"])).dataset


@pytest.mark.parametrize("epochs", [2, 5, 15])
@pytest.mark.parametrize("growth", ["none", "convex", "linear", "concave"])
def test_the_smallest_share_of_every_epoch(growth, epochs):
    expected = golden("liftplus_augmentation")[f"min_scale_{'min' if growth == 'none' else growth}_{epochs}"]
    view = [{"square_crop": {"growth": growth}}]
    found = [build_view(in_epoch(view, epoch, epochs), dataset()).ops[0].scale for epoch in range(epochs)]
    np.testing.assert_allclose([low for low, _ in found], expected, rtol=1e-12)
    assert {high for _, high in found} == {1.0}


def test_bounds_and_sides_of_squares():
    for height, width, asked, low, high, share, *sides, _, _ in np.asarray(
        golden("liftplus_augmentation")["crop_table"]
    ):
        operation = SquareCrop(224, (float(asked), 1.0))
        shape = int(height), int(width)
        np.testing.assert_allclose(operation.shares(*shape), (low, high), rtol=1e-12)
        place = 0.0 if high == low else (share - low) / (high - low)
        drawn = SquareCropParams(*torch.tensor([[place], [0.5], [0.9999]], dtype=torch.float32))
        boxes = operation.boxes(drawn, *shape)
        assert [int(boxes.height), int(boxes.width)] == sides
        assert operation.box(type(drawn)(*(row.numpy()[0] for row in drawn)), *shape) == tuple(map(int, boxes))


@pytest.mark.parametrize(("height", "width"), [(30, 40), (64, 20), (21, 21), (1, 50)])
def test_boxes_of_single_images_are_those_of_the_batch(height, width):
    view = SplitView("x", build_view("lift_plus", dataset()), MIDDLE)
    crops = view.draw(300, torch.Generator().manual_seed(3))
    boxes = torch.stack(view.crop.boxes(type(crops.params)(*map(torch.from_numpy, crops.params)), height, width), 1)
    assert [list(crops.box(number, height, width)) for number in range(300)] == boxes.int().tolist()
    assert (boxes >= 0).all() and (boxes[:, 0] + boxes[:, 2]).max() <= height
    assert crops.take(slice(5, 9)).box(1, height, width) == crops.box(6, height, width)


def test_the_law_of_places_and_shares():
    operation = SquareCrop(8, (0.25, 1.0))
    boxes = operation.boxes(operation.draw(20_000, torch.Generator().manual_seed(0)), 1000, 1000)
    assert stats.kstest((boxes.height / 1000) ** 2, stats.uniform(0.25, 0.75).cdf).pvalue > 0.01
    assert stats.kstest((boxes.left + 0.5) / (1001 - boxes.width), "uniform").pvalue > 0.01


def test_a_view_without_growth_is_the_same_in_every_epoch():
    for view in ("crop_flip", "lift", [{"resized_crop": {}}, "flip"]):
        assert in_epoch(view, 3, 5) is view
    assert in_epoch("lift_plus", 0, 1) == in_epoch(["lift_plus"], 4, 5) != in_epoch("lift_plus", 3, 5)


def test_in_the_last_epoch_the_whole_of_a_square_image_is_seen():
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    last = build_view(in_epoch("lift_plus", 4, 5), dataset())
    torch.testing.assert_close(
        last(images, torch.Generator().manual_seed(1)),
        build_view("plain", dataset()).apply(images, []),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(("name", "value"), [("scale", (0.0, 1.0)), ("scale", (0.5, 2.0)), ("growth", "late")])
def test_what_cannot_be_is_refused(name, value):
    with pytest.raises(SettingError, match=name):
        SquareCrop(8, **{name: value})
