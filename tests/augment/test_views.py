"""The views of the recipes, and what a data set says about them."""

import pytest

from lt_bench.augment.autoaugment import AutoAugment
from lt_bench.augment.blur import GaussianBlur
from lt_bench.augment.boosted import BoostedRandAugment
from lt_bench.augment.box_blur import BoxBlur
from lt_bench.augment.color import ColorJitter, Grayscale
from lt_bench.augment.crop import CropWithPadding, HorizontalFlip, RandomResizedCrop
from lt_bench.augment.cutout import Cutout
from lt_bench.augment.either import Either
from lt_bench.augment.randaugment import RandAugment
from lt_bench.augment.rotation import Rotation
from lt_bench.augment.square_crop import SquareCrop
from lt_bench.augment.views import BOOSTED, VIEWS, build_view
from lt_bench.config.compose import compose
from lt_bench.preflight.validate import validate


def dataset(name):
    return validate(compose([f"dataset={name}"])).dataset


def described(ops):
    return [
        (type(op), {key: described(value) if isinstance(op, Either) else value for key, value in vars(op).items()})
        for op in ops
    ]


FLIP = HorizontalFlip(0.5)
COLOR = [ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), Grayscale(0.2)]
SIM = [RandomResizedCrop(32, (0.2, 1.0)), FLIP, *COLOR]
SSL = [RandomResizedCrop(32, (0.1, 1.0), interpolation="bicubic"), FLIP, *COLOR]
SIM_WIDE = [RandomResizedCrop(32, (0.08, 1.0)), FLIP, *COLOR]
SSL_WIDE_BLUR = [
    RandomResizedCrop(32, (0.08, 1.0), interpolation="bicubic"),
    FLIP,
    *COLOR,
    BoxBlur((0.1, 2.0), 0.5),
]
JITTERED = [RandomResizedCrop(32, (0.08, 1.0)), FLIP, ColorJitter(0.4, 0.4, 0.4, 0.0, p=1.0)]
CIFAR = {
    "plain": [],
    "crop_flip": [CropWithPadding(32, 4), FLIP],
    # RIDE, SADE and BalPoE
    "crop_flip_rotate": [CropWithPadding(32, 4), FLIP, Rotation(15)],
    # SADE's two views of a test image; they flip last, which is the same
    "crop_flip_jitter_blur": [CropWithPadding(32, 4), FLIP, *COLOR, BoxBlur((0.1, 2.0), 0.2)],
    "simclr": SIM,
    "simclr_blur": [*SIM, GaussianBlur(3, (0.1, 2.0), 0.5)],
    # SDCLR, GH and boosted contrastive learning; the second as in GH's authors' code
    "ssl": SSL,
    "ssl_bilinear": [RandomResizedCrop(32, (0.1, 1.0), interpolation="bilinear"), FLIP, *COLOR],
    # boosted contrastive learning on SimCLR, and on SDCLR
    "boosted": [*SSL, BoostedRandAugment(1, floor=10, random=False)],
    "boosted_twice": [*SSL, BoostedRandAugment(2, floor=5, random=True)],
    "simclr_boosted": [*SIM, BoostedRandAugment(1, floor=10, random=False)],
    "simclr_boosted_twice": [*SIM, BoostedRandAugment(2, floor=5, random=True)],
    # BCL's views 2 and 3, PaCo's view 2, both views of GPaCo on balanced data
    "sim_blur": [*SIM, BoxBlur((0.1, 2.0), 0.5)],
    # GPaCo's view 2 on long-tailed data
    "sim_blur_rare": [*SIM, BoxBlur((0.1, 2.0), 0.2)],
    # ProCo's views 2 and 3
    "sim_wide": SIM_WIDE,
    # view 1 of BCL, ProCo and PaCo
    "autoaugment_cutout": [CropWithPadding(32, 4), FLIP, AutoAugment(), Cutout(16)],
    # ResLT on ImageNet-LT
    "jitter": JITTERED,
    # large-image recipes: jitter always and without hue; rand-n2-m10-mstd0.5
    "cls": [*JITTERED, RandAugment(2, 10.0, 0.5)],
    "rand": [*SIM_WIDE, RandAugment(2, 10.0, 0.5)],
    # PaCo's and GPaCo's large-image recipes; they flip last, which is the same
    "sim_always": [*JITTERED, Grayscale(0.2), BoxBlur((0.1, 2.0), 0.5)],
    # CMO's long recipe on ImageNet-LT: a coin of every image
    "cls_or_sim_always": [*JITTERED, Either([RandAugment(2, 10.0, 0.5)], [Grayscale(0.2), BoxBlur((0.1, 2.0), 0.5)])],
    "clsstack": [*JITTERED, Grayscale(0.2), BoxBlur((0.1, 2.0), 0.5), RandAugment(2, 10.0, 0.5)],
    # GH's large-image recipe, and boosted contrastive learning in it
    # LIFT and LIFT+, the latter as in the first epoch
    "lift": [RandomResizedCrop(32, (0.08, 1.0)), FLIP],
    "lift_plus": [SquareCrop(32, (0.08, 1.0), "convex", "bicubic")],
    "ssl_wide_blur": SSL_WIDE_BLUR,
    "ssl_wide_blur_boosted": [*SSL_WIDE_BLUR, BoostedRandAugment(2, floor=0, random=True)],
}


def test_every_view_is_described_here():
    assert set(CIFAR) == set(VIEWS)


@pytest.mark.parametrize("name", ["cifar10_lt", "cifar100_lt"])
@pytest.mark.parametrize("view", CIFAR)
def test_views_of_cifar(view, name):
    pipeline = build_view(view, dataset(name))
    assert described(pipeline.ops) == described(CIFAR[view])
    assert (pipeline.mean, pipeline.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@pytest.mark.parametrize("view", VIEWS)
def test_digits_are_never_mirrored(view):
    pipeline = build_view(view, dataset("digits_lt"))
    assert not any(isinstance(op, HorizontalFlip) for op in pipeline.ops)


def test_the_hole_is_half_of_the_image():
    lengths = [build_view("autoaugment_cutout", dataset(name)).ops[-1].length for name in ("digits_lt", "cifar10_lt")]
    assert lengths == [4, 16]


def test_the_number_and_magnitude_of_randaugment_are_settings():
    words = ["dataset=imagenet_lt", "dataset.randaugment_operations=3", "dataset.randaugment_magnitude=12"]
    for view in ("cls", "clsstack", "rand"):
        last = build_view(view, validate(compose(words)).dataset).ops[-1]
        assert vars(last) == vars(RandAugment(3, 12.0, 0.5))


def test_without_padding_the_small_crop_is_a_random_resized_one():
    assert described(build_view("crop_flip", dataset("imagenet_lt")).ops) == described(
        [RandomResizedCrop(224, (0.08, 1.0)), FLIP]
    )


@pytest.mark.parametrize("name", ["imagenet_lt", "places_lt"])
def test_the_self_supervised_views_of_large_images(name):
    images = dataset(name)
    crop = RandomResizedCrop(224, (0.08, 1.0), interpolation="bicubic")
    expected = [crop, FLIP, *COLOR, BoxBlur((0.1, 2.0), 0.5), BoostedRandAugment(2, floor=0, random=True)]
    assert described(build_view("ssl_wide_blur", images).ops) == described(expected[:-1])
    assert described(build_view("ssl_wide_blur_boosted", images).ops) == described(expected)


def test_an_unknown_view_names_the_known():
    with pytest.raises(ValueError, match="unknown view 'cutout'; there are plain, crop_flip, crop_flip_rotate, simclr"):
        build_view("cutout", dataset("digits_lt"))


def test_what_a_boosted_view_is_without_randaugment():
    found = {name: described(build_view(name, dataset("imagenet_lt")).ops) for name in VIEWS}
    boosted = {name for name, ops in found.items() if any(kind is BoostedRandAugment for kind, _ in ops)}
    assert boosted == BOOSTED.keys()
    for name, without in BOOSTED.items():
        assert found[name][:-1] == found[without]
