"""Crops of single images are those of the batch operation and of Pillow; every view can be divided."""

import numpy as np
import pytest
import torch
from helpers import image_trees

from lt_bench.augment.crop import HorizontalFlip, RandomResizedCrop
from lt_bench.augment.views import VIEWS, build_view
from lt_bench.config.compose import compose
from lt_bench.data.batches.crops import CentralCrops, SplitView
from lt_bench.preflight.validate import validate

MIDDLE = CentralCrops(224, 0.875)


def generator(step=0):
    return torch.Generator().manual_seed(100 + step)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (224, 224), (31, 900), (900, 31), (7, 9)])
def test_boxes_are_those_of_the_batch_operation(height, width):
    operation = RandomResizedCrop(224, (0.08, 1.0))
    view = SplitView("x", build_view("cls", validate(compose(["dataset=imagenet_lt"])).dataset), MIDDLE)
    crops = view.draw(300, generator())
    params = operation.draw(300, generator())
    boxes = torch.stack(operation.boxes(params, height, width), 1).int().tolist()
    assert [list(crops.box(number, height, width)) for number in range(300)] == boxes


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_crop_is_pillows_up_to_one_level(interpolation):
    from PIL import Image

    image = image_trees.picture(2, 5).resize((300, 200))
    operation = RandomResizedCrop(64, (0.08, 1.0), interpolation=interpolation)
    crops = SplitView("x", _pipeline([operation, HorizontalFlip(0.5)]), MIDDLE).draw(20, generator())
    for number in range(20):
        top, left, height, width = crops.box(number, 200, 300)
        resample = Image.Resampling[interpolation.upper()]
        expected = image.crop((left, top, left + width, top + height)).resize((64, 64), resample)
        pixels = np.asarray(expected)[:, :: -1 if crops.flipped[number] else 1].astype(int)
        assert np.abs(crops.cut(np.asarray(image), number).numpy() - pixels).max() <= 1
    assert 0 < crops.flipped.sum() < 20


def _pipeline(ops):
    from lt_bench.augment.pipeline import Pipeline

    return Pipeline(ops, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_can_be_divided(name):
    dataset = validate(compose(["dataset=imagenet_lt"])).dataset
    whole = build_view(name, dataset)
    view = SplitView(name, whole, MIDDLE)
    cut = [part for part in (view.crop, view.flip) if part is not None]
    assert [*cut, *view.on_device.ops] == list(whole.ops)
    assert isinstance(view.draw(2, generator()), CentralCrops) == (name == "plain")


def test_a_view_for_small_images_is_refused():
    dataset = validate(compose(["dataset=imagenet_lt", "dataset.crop_padding=4"])).dataset
    with pytest.raises(ValueError, match="crop_flip of large images has to begin with .*dataset.crop_padding=null"):
        SplitView("crop_flip", build_view("crop_flip", dataset), MIDDLE)
