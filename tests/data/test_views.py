"""The views of the recipes, and what a data set says about them."""

import pytest

from lt_bench.augment.blur import GaussianBlur
from lt_bench.augment.color import ColorJitter, Grayscale
from lt_bench.augment.crop import CropWithPadding, HorizontalFlip, RandomResizedCrop
from lt_bench.compose import compose
from lt_bench.data.views import VIEWS, build_view
from lt_bench.preflight import settle


def kinds(view, dataset):
    return [type(op) for op in VIEWS[view](settle(compose([f"dataset={dataset}"])).dataset)]


def test_views_of_cifar():
    jitter = [RandomResizedCrop, HorizontalFlip, ColorJitter, Grayscale]
    assert kinds("plain", "cifar100_lt") == []
    assert kinds("crop_flip", "cifar100_lt") == [CropWithPadding, HorizontalFlip]
    assert kinds("simclr", "cifar100_lt") == jitter
    assert kinds("simclr_blur", "cifar100_lt") == [*jitter, GaussianBlur]


def test_digits_are_never_mirrored():
    assert not any(HorizontalFlip in kinds(view, "digits_lt") for view in VIEWS)


def test_an_unknown_view_names_the_known():
    with pytest.raises(ValueError, match="plain, crop_flip, simclr"):
        build_view("cutout", settle(compose([])).dataset)
