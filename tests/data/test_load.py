"""From a data set's name to tensors: digits, with every way of cutting them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import lt_bench.data.load as module
from lt_bench.config.compose import compose
from lt_bench.data.load import load_data
from lt_bench.data.splits.imbalance import class_counts
from lt_bench.errors import SettingError
from lt_bench.preflight.validate import validate


def load(*words):
    return load_data(validate(compose(words)), torch.device("cpu"))


def test_digits_are_cut_exponentially_and_tested_on_fifty_of_each():
    data = load("imbalance=if20")
    assert data.split.class_counts == class_counts(120, 10, 20, "exponential")
    assert torch.equal(torch.bincount(data.train.labels), torch.from_numpy(data.train_counts))
    assert torch.bincount(data.test.labels).tolist() == [50] * 10
    assert data.train.images.dtype == torch.uint8 and data.train.images.shape[1:] == (3, 8, 8)
    assert len(data.validation.labels) == 0


def test_step_profile_any_factor_and_native_counts():
    step = load("imbalance.profile=step", "imbalance.factor=37")
    assert step.split.class_counts == [120] * 5 + [3] * 5
    assert load("imbalance=native").split.class_counts == [120] * 10


def test_a_pool_and_a_balanced_validation_part():
    data = load("dataset.pool_per_class=60", "dataset.validation_per_class=20", "imbalance=if10")
    assert data.split.class_counts == class_counts(40, 10, 10, "exponential")
    assert torch.bincount(data.validation.labels).tolist() == [20] * 10
    assert np.intersect1d(data.split.train, data.split.validation).size == 0


def test_a_long_tailed_validation_part_leaves_small_classes_alone():
    whole, parted = load("imbalance=if50"), load("imbalance=if50", "dataset.validation_fraction=0.2")
    held_out = np.array(whole.split.class_counts) - parted.split.class_counts
    assert torch.bincount(parted.validation.labels, minlength=10).tolist() == held_out.tolist()
    assert (held_out[np.array(whole.split.class_counts) < 5] == 0).all() and held_out[0] == 24


def test_a_rule_gets_the_split_it_asks_for_and_shots_of_it():
    data = load("dataset.validation_per_class=20")
    assert (
        data.for_stage_two("train").images() is data.train and data.for_stage_two("train").labels is data.train.labels
    )
    balanced = data.for_stage_two("balanced")
    assert torch.bincount(balanced.labels).tolist() == [100] * 10
    assert torch.equal(balanced.images().labels, balanced.labels)
    few = data.for_stage_two("balanced", shots=3, shot_seed=1)
    assert torch.bincount(few.labels).tolist() == [3] * 10 and len(few.images().images) == 30
    kept = set(map(bytes, balanced.images().images.numpy()))
    assert all(bytes(image) in kept for image in few.images().images.numpy())
    rare = data.for_stage_two("train", shots=2)
    assert torch.bincount(rare.labels).tolist() == [2] * 10
    with pytest.raises(SettingError, match="train_split is one of train, balanced, not 'test'"):
        data.for_stage_two("test")


def test_lists_of_shots_take_the_place_of_a_draw():
    data = load()
    names = {"split1/probe_5shot": np.arange(30, 80), "split2/probe_5shot": np.arange(90, 140)}
    listed = data._replace(split=replace(data.split, lists={"train": data.split.train, **names}))
    for number, name in enumerate(names, start=1):
        found = listed.for_stage_two("balanced", shots=5, shot_seed=number)
        assert found.labels.tolist() == data.labels[names[name]].tolist()
        assert torch.equal(found.images().images, data.at(names[name]).images)
    with pytest.raises(ValueError, match="shot_seed=0: .* no list split0/probe_5shot, but split1/.*, split2/probe_5sh"):
        listed.for_stage_two("balanced", shots=5)
    for other in ({"split": "balanced", "shots": 4}, {"split": "train", "shots": 2}):  # no list of these: drawn
        assert torch.equal(listed.for_stage_two(**other).labels, data.for_stage_two(**other).labels)


def test_images_beyond_the_train_split_are_read_only_when_they_are_asked_for(monkeypatch):
    read = []
    monkeypatch.setattr(
        "lt_bench.data.load.read_source", lambda config, real=module.read_source: read.append(1) or real(config)
    )
    data = load()
    balanced = data.for_stage_two("balanced")
    assert len(balanced.labels) == 1200 and read == [1]
    assert len(balanced.images().images) == 1200 and read == [1, 1]
    native = load("imbalance=native")
    assert native.for_stage_two("balanced").images() is native.train and read == [1, 1, 1]


def test_the_split_seed_chooses_other_images_and_the_seed_does_not():
    first, same, other = load(), load("seed=5"), load("split_seed=1")
    assert first.manifest == same.manifest
    assert first.manifest["train_sha256"] != other.manifest["train_sha256"]


def test_the_means_and_deviations_in_the_config_are_those_of_the_images():
    data = load("imbalance=native")
    dataset = validate(compose([])).dataset
    from sklearn.datasets import load_digits

    pixels = np.rint(load_digits().images * (255 / 16)) / 255
    assert dataset.mean == pytest.approx([pixels.mean()] * 3, abs=1e-4)
    assert dataset.std == pytest.approx([pixels.std()] * 3, abs=1e-4)
    assert data.train.images.max() == 255


def test_a_size_that_the_images_do_not_have_is_answered_with_theirs():
    with pytest.raises(ValueError, match=r"^dataset\.image_size=224, but digits_lt has 8; set dataset\.image_size=8$"):
        load("dataset.image_size=224")
    with pytest.raises(ValueError, match=r"set dataset\.num_classes=10\n.*set dataset\.image_size=8$"):
        load("dataset.image_size=9", "dataset.num_classes=11")
