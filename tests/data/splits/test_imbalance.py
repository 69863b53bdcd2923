"""Class profiles and the selection of images."""

from pathlib import Path

import numpy as np
import pytest

from lt_bench.data.splits.imbalance import class_counts, positions_by_class, select
from lt_bench.errors import DataError

GOLDEN = Path(__file__).parents[2] / "golden"
LARGEST = {"cifar10": 5000, "cifar100": 500}
PROFILE = {"exp": "exponential", "step": "step"}


@pytest.mark.parametrize("name", [name for name in np.load(GOLDEN / "split_counts.npz").files if "_if" in name])
def test_counts_are_the_published_ones(name):
    data, profile, factor = name.split("_")
    expected = np.load(GOLDEN / "split_counts.npz")[name]
    assert class_counts(LARGEST[data], len(expected), float(factor[2:]), PROFILE[profile]) == expected.tolist()


@pytest.mark.parametrize("profile", ["exponential", "step"])
def test_factor_one_keeps_the_classes_equal(profile):
    assert class_counts(5000, 10, 1, profile) == np.load(GOLDEN / "split_counts.npz")["cifar10_none"].tolist()


def test_step_with_an_odd_number_of_classes_appends_a_tail_class():
    assert class_counts(40, 5, 4, "step") == [40, 40, 10, 10, 10]


def test_one_class_stays_whole():
    assert class_counts(7, 1, 3, "exponential") == [7]


def test_counts_truncate_and_do_not_round():
    assert class_counts(10, 2, 1.05, "exponential") == [10, 9]


@pytest.mark.parametrize("factor", [0.01, 0, -2, float("nan")])
def test_factors_below_one_are_refused(factor):
    with pytest.raises(ValueError, match="imbalance.factor.*at least 1"):
        class_counts(100, 10, factor, "exponential")


@pytest.mark.parametrize(("profile", "empty"), [("exponential", 9), ("step", 5)])
def test_an_empty_class_is_refused_by_its_number(profile, empty):
    with pytest.raises(ValueError, match=rf"class {empty} would have no image.*set imbalance.factor below 50"):
        class_counts(50, 10, 100 if profile == "step" else 50.1, profile)


def test_unknown_profiles_and_class_numbers_are_refused():
    with pytest.raises(ValueError, match="exponential or step, not 'exp'"):
        class_counts(50, 10, 10, "exp")
    with pytest.raises(ValueError, match="at least one class"):
        class_counts(50, 0, 10, "exponential")


@pytest.mark.parametrize("case", "abc")
def test_selection_matches_the_published_routine(case):
    data = {key[2:]: value for key, value in np.load(GOLDEN / "split_select.npz").items() if key.startswith(case)}
    num_classes, per_class = len(data["counts"]), int(data["per_class"])
    counts = class_counts(per_class, num_classes, 1 / float(data["imb_factor"]), PROFILE[str(data["imb_type"])])
    assert counts == data["counts"].tolist()
    indices = select(data["labels"], counts, int(data["rand_number"]))
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, data["indices"])
    np.testing.assert_array_equal(data["labels"][indices], data["targets"])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_ranks_within_the_classes_match_the_published_splits_of_cifar(name):
    data, counts = np.load(GOLDEN / "split_cifar_ranks.npz"), np.load(GOLDEN / "split_counts.npz")
    largest, num_classes = LARGEST[name], 50_000 // LARGEST[name]
    labels = np.tile(np.arange(num_classes), largest)  # the ranks do not depend on the order of the labels
    blocks = np.split(data[f"{name}_if10_rank"], np.cumsum(data[f"{name}_if10_counts"])[:-1])
    for factor in (10, 50, 100):
        wanted = class_counts(largest, num_classes, factor, "exponential")
        assert wanted == counts[f"{name}_exp_if{factor}"].tolist()
        expected = np.concatenate([block[:count] for block, count in zip(blocks, wanted, strict=True)])
        ranks = select(labels, wanted, int(data["rand_number"])) // num_classes
        np.testing.assert_array_equal(ranks, expected)


def test_a_larger_factor_selects_a_prefix_of_every_class():
    labels = np.random.RandomState(4).permutation(np.repeat(np.arange(6), 30))
    few, many = (select(labels, class_counts(30, 6, factor, "exponential"), seed=3) for factor in (15, 3))
    for label in range(6):
        prefix = few[labels[few] == label]
        np.testing.assert_array_equal(prefix, many[labels[many] == label][: len(prefix)])
    assert len(few) < len(many) == len(np.unique(many))


def test_the_global_generator_is_left_alone_and_the_labels_too():
    labels = np.repeat(np.arange(3), 5)
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    select(labels, [5, 3, 1], seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(labels, np.repeat(np.arange(3), 5))


def test_a_class_with_too_few_images_is_refused_by_its_number():
    with pytest.raises(ValueError, match="class 1 has 2 images, the profile wants 3.*pool_per_class"):
        select(np.array([0, 0, 0, 1, 1]), [3, 3], seed=0)


def test_positions_are_ascending_and_complete():
    labels = np.array([2, 0, 2, 0, 2])
    assert [positions.tolist() for positions in positions_by_class(labels, 4)] == [[1, 3], [], [0, 2, 4], []]


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_outside_the_classes_are_refused(labels):
    with pytest.raises(DataError, match=r"labels lie in 0 \.\. 2, found"):
        positions_by_class(np.array(labels), 3)


@pytest.mark.parametrize(("largest", "said"), [(1, "set imbalance=native"), (2, "set imbalance.factor below 2, imb")])
def test_the_advice_for_an_empty_class_can_be_followed(largest, said):
    with pytest.raises(ValueError, match=said):
        class_counts(largest, 5, 100, "exponential")
    assert class_counts(2, 5, 1.9, "step") == [2, 2, 1, 1, 1]
