"""Splits, their validation part and their manifest."""

import hashlib
import json
import struct

import numpy as np
import pytest

from lt_bench.data.splits.imbalance import class_counts, select
from lt_bench.data.splits.split import Split, check_manifest, draw_shots, make_split, manifest
from lt_bench.errors import UsageError

LABELS = np.random.RandomState(1).permutation(np.repeat(np.arange(5), 40))


def split(labels=LABELS, **changes):
    settings = {"factor": 10, "profile": "exponential", "seed": 0, "pool_per_class": None, "validation_fraction": 0.0}
    return make_split(labels, 5, **(settings | changes))


def test_without_pool_and_validation_the_split_is_the_selection():
    counts = class_counts(40, 5, 10, "exponential")
    result = split()
    np.testing.assert_array_equal(result.train, select(LABELS, counts, 0))
    assert result.class_counts == counts
    assert len(result.validation) == 0


def test_native_keeps_every_image_in_file_order():
    result = split(LABELS[:90], factor=None)
    np.testing.assert_array_equal(result.train, np.arange(90))
    assert result.class_counts == np.bincount(LABELS[:90]).tolist()


def test_the_pool_is_the_first_images_of_each_class():
    pool = {index for label in range(5) for index in np.flatnonzero(LABELS == label)[:12]}
    native = split(factor=None, pool_per_class=12)
    assert native.train.tolist() == sorted(pool)
    cut = split(pool_per_class=12, factor=4)
    assert set(cut.train) < pool
    assert cut.class_counts == class_counts(12, 5, 4, "exponential") == np.bincount(LABELS[cut.train]).tolist()


@pytest.mark.parametrize("factor", [None, 10])
def test_validation_takes_images_away_and_changes_nothing_else(factor):
    whole, parted = split(factor=factor), split(factor=factor, validation_fraction=0.3)
    np.testing.assert_array_equal(whole.train[np.isin(whole.train, parted.train)], parted.train)
    np.testing.assert_array_equal(np.sort(np.concatenate([parted.train, parted.validation])), np.sort(whole.train))
    held_out = np.bincount(LABELS[parted.validation], minlength=5)
    expected = [int(0.3 * count) if count >= 5 else 0 for count in whole.class_counts]
    assert held_out.tolist() == expected
    assert parted.class_counts == [count - out for count, out in zip(whole.class_counts, expected, strict=True)]


def test_small_classes_keep_their_images():
    labels = np.repeat(np.arange(5), [1, 4, 5, 6, 40])
    assert split(labels, factor=None, validation_fraction=0.999).class_counts == [1, 4, 1, 1, 1]
    assert split(labels, factor=None, validation_fraction=0.01).class_counts == [1, 4, 4, 5, 39]


def test_splits_depend_on_the_seed_alone():
    first, again, other = (split(seed=seed, validation_fraction=0.2) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.validation, again.validation)
    assert set(first.train) != set(other.train)
    natives = [split(factor=None, seed=seed, validation_fraction=0.2).validation.tolist() for seed in (0, 1)]
    assert natives[0] != natives[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_fraction": 1.0}, "validation_fraction is at least 0 and below 1"),
        ({"validation_fraction": -0.1}, "validation_fraction is at least 0 and below 1"),
        ({"pool_per_class": 0}, "pool_per_class is at least 1"),
        ({"factor": 0.1}, "imbalance.factor"),
        ({"labels": LABELS % 4, "factor": None}, "class 4 has no training image"),
        ({"labels": np.repeat(np.arange(5), [9, 9, 9, 9, 30])}, "class 0 has 9 images, the profile wants 30"),
    ],
)
def test_impossible_splits_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        split(**changes)


@pytest.mark.parametrize("held_out", [{}, {"validation_fraction": 0.3}, {"validation_per_class": 4}])
@pytest.mark.parametrize("pool", [None, 12])
@pytest.mark.parametrize("factor", [None, 3])
def test_the_balanced_part_is_all_of_the_pool_that_is_not_held_out(held_out, pool, factor):
    result = split(pool_per_class=pool, factor=factor, **held_out)
    everything = split(factor=None, pool_per_class=pool).train
    assert set(result.train) <= set(result.balanced)
    np.testing.assert_array_equal(result.balanced, np.setdiff1d(everything, result.validation))
    if factor is None:
        np.testing.assert_array_equal(result.balanced, np.sort(result.train))


def test_shots_are_so_many_of_every_class_and_depend_on_the_seed_alone():
    first, again, other = (draw_shots(LABELS, 5, 7, seed) for seed in (3, 3, 4))
    assert np.bincount(LABELS[first]).tolist() == [7] * 5
    assert (np.diff(first) > 0).all()
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    np.testing.assert_array_equal(draw_shots(LABELS, 5, 40, 0), np.arange(200))
    assert set(draw_shots(LABELS, 5, 3, 3)) < set(first)  # more shots add to fewer


def test_shots_are_no_images_that_the_profile_prefers():
    """With one seed for both, the classes' images are drawn by streams apart."""
    tail = select(LABELS, [10] * 5, 0)
    assert len(set(draw_shots(LABELS, 5, 10, 0)) & set(tail)) < 30


def test_more_shots_than_the_smallest_class_has_are_refused():
    with pytest.raises(ValueError, match="class 3 has 2 images .* stage_two.shots to at most 2"):
        draw_shots(np.repeat(np.arange(4), [9, 3, 5, 2]), 4, 3, 0)


def describe(result, **changes):
    settings = {"dataset": "toy", "factor": 10.0, "profile": "step", "seed": 3, "test_images": 50}
    return manifest(result, **(settings | changes))


def test_the_manifest_holds_counts_settings_and_digests():
    result = Split(np.array([5, 300]), np.array([7]), [1, 1], np.array([5, 8, 300]))
    assert describe(result) == {
        "dataset": "toy",
        "imbalance_factor": 10.0,
        "profile": "step",
        "split_seed": 3,
        "class_counts": [1, 1],
        "train_images": 2,
        "train_sha256": hashlib.sha256(struct.pack("<qq", 5, 300)).hexdigest(),
        "validation_images": 1,
        "validation_sha256": hashlib.sha256(struct.pack("<q", 7)).hexdigest(),
        "test_images": 50,
    }
    assert describe(result, factor=None)["profile"] is None


def test_a_stored_manifest_is_accepted_when_it_agrees(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(describe(split())))
    check_manifest(path, describe(split(), factor=10))


def test_every_difference_from_a_stored_manifest_is_named(tmp_path):
    path = tmp_path / "split.json"
    stored = describe(split())
    path.write_text(json.dumps(stored | {"extra": 1}))
    new = describe(split(seed=9), seed=9)
    with pytest.raises(ValueError, match="the split differs") as caught:
        check_manifest(path, new)
    text = str(caught.value)
    assert str(path) in text
    assert "split_seed: stored 3, new 9" in text
    assert f"train_sha256: stored '{stored['train_sha256']}', new '{new['train_sha256']}'" in text
    assert "extra: stored 1, new None" in text
    assert "class_counts" not in text


def test_a_stored_manifest_that_is_cut_off_is_named(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"dataset": ')
    with pytest.raises(ValueError, match=r"split.json is no JSON file of a split .*delete .* to run anew"):
        check_manifest(path, describe(split()))


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"a"', b"{", b"\xff"])
def test_a_stored_manifest_that_is_no_object_is_refused(content, tmp_path):
    path = tmp_path / "split.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{path} is no JSON file of a split .*; delete {tmp_path} to run anew"):
        check_manifest(path, {})


def test_a_stored_manifest_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no JSON file of a split"):
        check_manifest(tmp_path, {})
