"""Digit scenes: the very pixels of the golden file, and what follows from its rules."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from helpers.golden_vectors import golden

from lt_bench.data.sources.digit_scenes import load


@pytest.mark.parametrize("number", [0, 1])
def test_scenes_are_those_of_the_golden_file(number):
    case = {name: array.numpy() for name, array in golden("region_rebalance_digit_scenes", f"c{number}").items()}
    found = load(Path("nowhere"), int(case["split_seed"]), float(case["imbalance_factor"]))
    for part in ("train", "test"):
        images, masks = getattr(found, part)
        grey = np.ascontiguousarray(images[:, 0])
        assert len(images) == case[f"{part}_scenes"] and (images == images[:, :1]).all()
        for kind, array in (("images", grey), ("masks", masks)):
            assert hashlib.sha256(array.tobytes()).digest() == case[f"{part}_{kind}_sha256"].tobytes()
        np.testing.assert_array_equal(getattr(found, part).classes(11).sum(0), case[f"{part}_image_counts"])
    np.testing.assert_array_equal(found.train.masks[:2], case["train_masks_first2"])
    pixels = np.bincount(found.train.masks.ravel(), minlength=256)
    np.testing.assert_array_equal(pixels[[*range(11), 255]], case["pixels_per_class"])


def test_without_a_factor_all_digits_are_there_and_every_seed_has_its_own_scenes():
    every = [load(Path("nowhere"), seed) for seed in (0, 1)]
    assert all(len(one.train.images) == 480 and one.num_classes == len(one.classes) == 11 for one in every)
    assert (every[0].train.images != every[1].train.images).any()
    np.testing.assert_array_equal(every[0].test.images, every[1].test.images)
