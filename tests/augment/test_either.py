"""Either: each image goes one of two ways, about half of them the first; what is drawn is cut and joined with it."""

import pytest
import torch
from helpers.pil_operations import sample_images

from lt_bench.augment.box_blur import BoxBlur
from lt_bench.augment.color import Grayscale
from lt_bench.augment.either import Either
from lt_bench.augment.pipeline import join_params, slice_params
from lt_bench.augment.randaugment import RandAugment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def either():
    return Either([RandAugment(2, 10.0, 0.5)], [Grayscale(1.0), BoxBlur((0.1, 2.0), 0.5)])


@pytest.mark.parametrize("branch_free", [False, True])
def test_every_image_goes_the_way_of_its_coin(branch_free):
    op, images = either(), sample_images(60) / 255
    params = op.draw(60, generator())
    found = (op.branch_free if branch_free else op.grouped)(images, params)
    first, second = images, images
    for part, drawn in zip(op.first, params.of_first, strict=True):
        first = part.grouped(first, drawn)
    for part, drawn in zip(op.second, params.of_second, strict=True):
        second = part.grouped(second, drawn)
    chosen = params.first
    assert 0 < chosen.sum() < 60
    torch.testing.assert_close(found[chosen], first[chosen], rtol=0, atol=3e-6)
    torch.testing.assert_close(found[~chosen], second[~chosen], rtol=0, atol=3e-6)


def test_half_of_the_images_go_each_way():
    share = either().draw(4000, generator()).first.double().mean()
    assert abs(float(share) - 0.5) < 4 * 0.5 / 4000**0.5


def test_parameters_are_cut_and_joined_with_all_that_is_in_them():
    op, images = either(), sample_images(30) / 255
    params = [op.draw(30, generator())]
    parts = [slice_params(params, rows) for rows in (slice(0, 11), slice(11, 30))]
    assert [len(part[0].of_second[1].applied) for part in parts] == [11, 19]
    (joined,) = join_params(parts)
    assert type(joined) is type(params[0]) and type(joined.of_first[0]) is type(params[0].of_first[0])
    assert torch.equal(op.grouped(images, joined), op.grouped(images, params[0]))
