"""Digits: the library's images, cut into a pool and a test set."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from lt_bench.data.sources import digits


def test_pool_and_test_set_are_the_two_ends_of_every_class(tmp_path):
    arrays = digits.load(Path(tmp_path))
    raw = load_digits()
    assert arrays.num_classes == 10
    assert arrays.train_images.shape == (1200, 3, 8, 8)
    assert arrays.test_images.shape == (500, 3, 8, 8)
    assert arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
    assert arrays.train_labels.dtype == arrays.test_labels.dtype == np.int64
    for label in range(10):
        expected = np.floor(raw.images[raw.target == label] * 255 / 16 + 0.5)
        for channel in range(3):
            ours = arrays.train_images[arrays.train_labels == label][:, channel]
            np.testing.assert_array_equal(ours, expected[:120])
            test = arrays.test_images[arrays.test_labels == label][:, channel]
            np.testing.assert_array_equal(test, expected[-50:])
    assert arrays.train_images.min() == 0 and arrays.train_images.max() == 255


def test_images_stay_in_file_order(tmp_path):
    arrays = digits.load(Path(tmp_path))
    target = load_digits().target
    seen = np.zeros(10, dtype=int)
    kept = []
    for label in target:
        if seen[label] < 120:
            kept.append(label)
        seen[label] += 1
    np.testing.assert_array_equal(arrays.train_labels, kept)
