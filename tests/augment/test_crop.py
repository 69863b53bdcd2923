"""Crops and flips against torchvision: the images at fixed parameters, and the law of the draws."""

import pytest
import torch
from scipy import stats
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as oracle

from lt_bench.augment.crop import CropWithPadding, HorizontalFlip, PaddedCropParams, RandomResizedCrop

PATHS = ["grouped", "branch_free"]
DRAWS = 20_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, height, width, seed=0):
    return torch.rand(count, 3, height, width, generator=generator(seed))


def integers(boxes):
    """Tuples of Python integers per image: (top, left, height, width) or (top, left)."""
    return [tuple(int(value) for value in box) for box in zip(*boxes, strict=True)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "size", "tolerance"),
    [
        (32, 32, 32, 1e-6),
        (8, 8, 8, 1e-6),
        (32, 32, 48, 1e-6),
        (28, 40, 40, 1e-6),
        # reduced boxes: torchvision's antialiasing and ours both round positions up to 40 to float32
        (32, 32, 24, 3e-6),
        (40, 28, 9, 3e-6),
    ],
)
def test_resized_crop_and_flip_equal_torchvision(path, interpolation, height, width, size, tolerance):
    images = random_images(48, height, width)
    crop, flip = RandomResizedCrop(size, interpolation=interpolation), HorizontalFlip(0.5)
    params, flipped = crop.draw(48, generator(1)), flip.draw(48, generator(2)).applied
    cropped = [
        oracle.resized_crop(image, *box, [size, size], InterpolationMode(interpolation), antialias=True).clamp(0, 1)
        for image, box in zip(images, integers(crop.boxes(params, height, width)), strict=True)
    ]
    expected = [oracle.hflip(image) if mirror else image for image, mirror in zip(cropped, flipped, strict=True)]
    found = getattr(crop, path)(images, params, flipped)
    # the cubic filter is up to 1.6 times as steep as the triangle, so roundings of positions weigh more
    steepness = 2 if interpolation == "bicubic" else 1
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=steepness * tolerance)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("height", "width", "size", "padding"), [(32, 32, 32, 4), (8, 8, 8, 1), (28, 36, 32, 3)])
def test_padded_crop_equals_torchvision_exactly(path, height, width, size, padding):
    images = random_images(64, height, width)
    crop = CropWithPadding(size, padding)
    params = crop.draw(64, generator(1))
    padded = oracle.pad(images, [padding])
    expected = [
        oracle.crop(image, top, left, size, size)
        for image, (top, left) in zip(padded, integers(crop.corners(params, height, width)), strict=True)
    ]
    assert torch.equal(getattr(crop, path)(images, params), torch.stack(expected))


@pytest.mark.parametrize("path", PATHS)
def test_flip_mirrors_the_chosen_images_only(path):
    images, flip = random_images(40, 8, 8), HorizontalFlip(0.5)
    params = flip.draw(40, generator(3))
    found = getattr(flip, path)(images, params)
    assert 0 < params.applied.sum() < 40
    assert torch.equal(found[params.applied], images[params.applied].flip(3))
    assert torch.equal(found[~params.applied], images[~params.applied])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [32, 12])
def test_no_pixel_outside_the_box_leaks_in(path, interpolation, size):
    crop = RandomResizedCrop(size, scale=(0.1, 0.5), interpolation=interpolation)
    params = crop.draw(64, generator(4))
    images = torch.full((64, 3, 32, 32), 1e6)
    for image, (top, left, height, width) in zip(images, integers(crop.boxes(params, 32, 32)), strict=True):
        image[:, top : top + height, left : left + width] = 0.5
    torch.testing.assert_close(getattr(crop, path)(images, params), torch.full((64, 3, size, size), 0.5))


@pytest.fixture(scope="module")
def both_laws():
    """Boxes (top, left, height, width) in 32 x 32 images, ours and torchvision's, (DRAWS, 4) each."""
    crop = RandomResizedCrop(32)
    ours = torch.stack(crop.boxes(crop.draw(DRAWS, generator(0)), 32, 32), 1)
    image = torch.empty(3, 32, 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [transforms.RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(DRAWS)]
    return ours, torch.tensor(boxes, dtype=torch.float32)


def test_box_moments_follow_torchvision(both_laws):
    ours, theirs = both_laws
    shape, their_shape = ours[:, 2:], theirs[:, 2:]
    torch.testing.assert_close(shape.mean(0), their_shape.mean(0), rtol=0.01, atol=0)
    torch.testing.assert_close(shape.std(0), their_shape.std(0), rtol=0.015, atol=0)
    torch.testing.assert_close(ours[:, :2].mean(0), theirs[:, :2].mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(ours[:, :2].std(0), theirs[:, :2].std(0), rtol=0.02, atol=0)


@pytest.mark.parametrize("what", ["area", "ratio", "top", "left"])
def test_box_distribution_follows_torchvision(both_laws, what):
    def values(boxes):
        top, left, height, width = boxes.unbind(1)
        return {"area": height * width, "ratio": width / height, "top": top, "left": left}[what]

    assert stats.ks_2samp(*(values(boxes).numpy() for boxes in both_laws)).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(8, 64), (64, 8), (16, 16)])
def test_central_box_where_no_candidate_fits(height, width):
    # the scale asks for more than the whole image, so that all ten tries fail on both sides
    crop, bounds = RandomResizedCrop(32, scale=(4.0, 4.0)), ([4.0, 4.0], [3 / 4, 4 / 3])
    expected = transforms.RandomResizedCrop.get_params(torch.empty(3, height, width), *bounds)
    assert integers(crop.boxes(crop.draw(5, generator(0)), height, width)) == [tuple(expected)] * 5


def test_candidates_are_tried_in_turn():
    crop = RandomResizedCrop(32)
    params = crop.draw(3, generator(0))
    params.area.fill_(0.25)
    params.ratio.fill_(1.0)
    params.area[1, :4] = 5.0
    params.area[1, 5:] = 0.5
    params.area[2] = 5.0
    assert [box[2:] for box in integers(crop.boxes(params, 32, 32))] == [(16, 16), (16, 16), (32, 32)]


def test_padded_crop_reaches_all_places_equally():
    crop = CropWithPadding(32, 4)
    top, left = crop.corners(crop.draw(DRAWS, generator(5)), 32, 32)
    places = (top * 9 + left).bincount(minlength=81)
    assert len(places) == 81
    assert stats.chisquare(places.numpy()).pvalue > 1e-3


def test_largest_number_below_one_stays_in_range():
    highest = torch.tensor([1 - 2**-24])
    for padding in range(1, 40):
        corner = CropWithPadding(32, padding).corners(PaddedCropParams(highest, highest), 32, 32)
        assert integers(corner) == [(2 * padding, 2 * padding)]


def test_flip_rate():
    assert abs(HorizontalFlip(0.3).draw(DRAWS, generator(6)).applied.float().mean() - 0.3) < 0.015
    assert not HorizontalFlip(0).draw(100, generator(6)).applied.any()
    assert HorizontalFlip(1).draw(100, generator(6)).applied.all()


def test_every_image_has_its_own_box():
    crop = RandomResizedCrop(32)
    assert len(set(integers(crop.boxes(crop.draw(64, generator(0)), 32, 32)))) > 55


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomResizedCrop(0), "size"),
        (lambda: RandomResizedCrop(32, scale=(0.0, 1.0)), "scale"),
        (lambda: RandomResizedCrop(32, ratio=(2.0, 1.0)), "ratio"),
        (lambda: CropWithPadding(32, -1), "padding"),
        (lambda: HorizontalFlip(1.5), "probability"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_image_smaller_than_the_window_is_refused():
    crop = CropWithPadding(32, 1)
    with pytest.raises(ValueError, match="at least 30 pixels"):
        crop.grouped(torch.rand(2, 3, 28, 28), crop.draw(2, generator()))
