"""Crops of single images are those of the batch operation and of Pillow; every view can be divided."""

import itertools

import numpy as np
import pytest
import torch
from helpers import image_trees
from helpers.golden_vectors import golden
from PIL import Image

from lt_bench.augment.crop import HorizontalFlip, RandomResizedCrop
from lt_bench.augment.views import VIEWS, build_view
from lt_bench.config.compose import compose
from lt_bench.data.batches.crops import FIVE, CentralCrops, SplitView, plain_crops
from lt_bench.data.transform import Transform
from lt_bench.engine.predict import classify
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


@pytest.mark.parametrize(
    ("file", "views"),
    [
        ("lift_test_views", {"single": ("single", 2), "plain": ("single", 0), "fivecrop": ("five", 3)}),
        ("liftplus_test_views", {"single": ("single", 2), "single5": ("single", 5), "fivecrop3": ("five", 3)}),
    ],
)
def test_the_crops_of_evaluation_are_the_authors_up_to_one_level(file, views):
    """Through what a predictor does, whose crops are those of the evaluation."""
    case = golden(file)
    size, plus = int(case["resolution"]), "mean" in case
    if not plus:
        views = views | {"tencrop": ("ten", 3)}
    for number, name in itertools.product(range(int(case["num_images"])), views):
        if (key := f"i{number}_{name}") not in case:
            continue
        mean, std = [0.5] * 3, [0.5] * 3
        if plus:
            mean, std = case["mean"].tolist(), case["std"].tolist()
        elif case[f"i{number}_clip_stats"]:
            mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        kind, more = views[name]
        how = "bicubic" if plus else "bilinear"
        share = size / (size + more)
        transform = Transform(size, share, tuple(mean), tuple(std), interpolation=how, views=kind)
        found = transform(Image.fromarray(case[f"i{number}_image"].numpy()))
        assert found.shape == case[key].shape
        levels = (found - case[key]) * 255 * torch.tensor(std).view(3, 1, 1)
        assert levels.abs().max() < 1.01 and levels.abs().mean() < 0.1, key


def test_the_places_of_crops_are_the_authors():
    """Also where halves round to even numbers, and where the longer side is not whole."""
    for height, width, size, expand, *expected in golden("lift_test_views")["crop_table"].tolist():
        crops = plain_crops(size, size / (size + expand), "bilinear", "five")
        marked = torch.arange(expected[0] * expected[1]).view(expected[0], expected[1], 1).expand(-1, -1, 3)
        places = [divmod(int(crops.middle.at(marked, *place)[0, 0, 0]), expected[1]) for place in FIVE]
        pixels = np.zeros((height, width, 3), np.uint8)
        assert crops.middle.whole(pixels).shape[:2] == (expected[0], expected[1])
        assert [side for place in places for side in place] == expected[2:]
        assert crops.shape == (5, size, size)


def test_crops_of_an_image_of_their_size_are_all_that_image():
    pixels = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
    image = torch.from_numpy(pixels)
    found = plain_crops(12, 1.0, "bilinear", "ten").cut(pixels, 0)
    assert torch.equal(found, torch.stack([image] * 5 + [image.flip(1)] * 5))
    assert torch.equal(plain_crops(12, 1.0, "bilinear", "five").cut(pixels, 0), found[:5])


@pytest.mark.parametrize("crops", [1, 5, 7])
def test_logits_are_averaged_over_crops_and_not_probabilities(crops):
    case = golden("lift_test_views", f"ensemble{crops}")
    found = classify(torch.nn.Identity(), case["logits"], batch_size=2 * crops)
    torch.testing.assert_close(found, case["mean"].float(), rtol=1e-6, atol=1e-6)
