"""Splits from lists: layout, what they must hold, every problem said, and the published lists of CIFAR-100-LT."""

import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from helpers.chain import execute, tiny
from helpers.split_lists import LABELS, SIZES, lists, read, said, write

from lt_bench.config.compose import compose
from lt_bench.data.load import load_data
from lt_bench.data.splits.from_lists import read_split
from lt_bench.data.splits.imbalance import class_counts
from lt_bench.data.splits.split import manifest
from lt_bench.engine.loop import Trainer
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identity_values, run_id, setting_id, stage_one_id, unseeded

PUBLISHED = Path(__file__).parents[4] / "shared" / "reference" / "data" / "boosted_cl_cifar100_splits.npz"


@pytest.mark.parametrize("number", [1, 2])
def test_lists_are_read_as_sets_from_text_and_arrays(number, tmp_path):
    found = lists()
    write(tmp_path, found, binary=("split1/train", "validation"))
    split = read(tmp_path, number)
    for name, positions in (("train", split.train), ("validation", split.validation), ("probe_full", split.balanced)):
        listed = found[f"split{number}/train" if name == "train" else name]
        np.testing.assert_array_equal(positions, np.sort(listed))
        np.testing.assert_array_equal(split.lists[name], positions)
    assert split.class_counts == np.bincount(LABELS[split.train]).tolist()
    assert sorted(split.class_counts, reverse=True) == class_counts(40, 4, 10, "exponential") == SIZES
    shots = {name for name in found if name.endswith("shot")}
    assert split.lists.keys() == {"train", "validation", "probe_full", *shots}
    for name in shots:
        np.testing.assert_array_equal(split.lists[name], np.sort(found[name]))


def test_a_split_may_keep_its_own_shared_lists(tmp_path):
    found = lists()
    write(tmp_path, {**found, "split2/validation": found["validation"][:20], "split2/probe_full": np.arange(0)})
    (tmp_path / "split2" / "probe_full.txt").unlink()
    assert len(read(tmp_path, 1).validation) == 40
    assert len(read(tmp_path, 2, factor=None).validation) == 20


def test_only_the_train_list_must_be_there(tmp_path):
    write(tmp_path, {"split1/train": lists()["split1/train"]})
    split = read(tmp_path, factor=None)
    assert len(split.validation) == 0
    np.testing.assert_array_equal(split.balanced, np.arange(200))
    assert split.lists.keys() == {"train"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("split1/train.txt", "3\n\n4\n5 6", "expected one position per line, found '5 6' in line 4"),
        ("split1/train.txt", "x", "expected one position per line, found 'x' in line 1"),
        ("split1/train.txt", "3\n200", "expected positions in 0 .. 199, found 3 .. 200"),
        ("validation.txt", "-1\n7", "expected positions in 0 .. 199, found -1 .. 7"),
        ("probe_full.txt", "5\n6\n5\n6\n6", "expected each position once, found 2 repeated, the first 5"),
        ("split2/probe_10shot.txt", "", "expected a list of integers, found int64 of shape (0,)"),
        ("split1/train.txt", str(2**70), "too large"),
    ],
)
def test_a_list_that_cannot_be_is_named(name, content, words, tmp_path):
    write(tmp_path, lists())
    (tmp_path / name).write_text(content)
    text = said(tmp_path)
    assert str(tmp_path / name) in text and words in text


@pytest.mark.parametrize("array", [np.ones((3, 2), dtype=int), np.array([1.0, 2.0]), np.array(3), np.array(["1"])])
def test_an_array_that_is_no_list_of_integers_is_named(array, tmp_path):
    write(tmp_path, {**lists(), "split1/train": array}, binary=("split1/train",))
    assert f"train.npy: expected a list of integers, found {array.dtype} of shape {array.shape}" in said(tmp_path)


def test_pickled_arrays_are_refused(tmp_path):
    write(tmp_path, lists())
    (tmp_path / "split1" / "train.txt").unlink()
    np.save(tmp_path / "split1" / "train.npy", np.array([1, None]), allow_pickle=True)
    assert "train.npy: it holds Python objects, which are not read" in said(tmp_path)


def test_all_problems_are_said_at_once(tmp_path):
    found = lists()
    found["split1/train"] = np.append(found["split1/train"][1:], found["validation"][0])
    found["probe_full"] = np.append(found["probe_full"], found["validation"][:3])
    write(tmp_path, {**found, "split2/probe_5shot": [1, 1]})
    text = said(tmp_path)
    held_out = "images are held out for validation, the first"
    assert f"split1/train.txt: 1 {held_out} {found['validation'][0]}" in text
    assert f"probe_full.txt: 3 {held_out} {min(found['validation'][:3])}" in text
    assert "split2/probe_5shot.txt: expected each position once" in text
    assert "split1/train.txt: 70 images in classes of 39 to " in text
    assert len(text.splitlines()) == 4


def test_classes_of_other_sizes_are_refused_unless_any_are_taken(tmp_path):
    write(tmp_path, lists())
    text = said(tmp_path, factor=5.0)
    assert "70 images in classes of 40 to 4, where the exponential profile of imbalance.factor=5 has 84 in cl" in text
    assert "class 2 by size has 18, not 23; set imbalance.factor to that of the list, or imbalance=native" in text
    assert sorted(read(tmp_path, factor=None).class_counts) == sorted(SIZES)
    (tmp_path / "split1" / "train.txt").write_text("\n".join(map(str, np.flatnonzero(LABELS < 3)[:50])))
    (tmp_path / "validation.txt").unlink()
    assert "class 3 has no image" in said(tmp_path, factor=None)


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    write(tmp_path, lists())
    assert "has no split7/train, but probe_full.txt, split1, split2, validation.txt; split_seed=K" in said(
        tmp_path, number=7
    )
    assert f"dataset.split_dir={tmp_path / 'nowhere'} does not exist; split_seed=K" in said(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no split1/train, but nothing" in said(tmp_path / "empty")


def test_a_few_shot_list_has_as_many_images_as_its_name_says_and_every_class(tmp_path):
    found = lists()
    several = found["split2/probe_5shot"]
    write(tmp_path, {**found, "split2/probe_5shot": several[:-1]})
    assert "split2/probe_5shot.txt: expected 5 images of each of 4 classes, 20, found 19; name" in said(tmp_path)
    others = np.setdiff1d(np.flatnonzero(LABELS != 2), found["validation"])[:20]
    write(tmp_path, {**found, "split2/probe_5shot": others})
    assert "split2/probe_5shot.txt: class 2 has no image; check that" in said(tmp_path)


def test_the_manifest_has_a_checksum_of_every_list(tmp_path):
    write(tmp_path, lists())
    facts = {"dataset": "toy", "factor": 10.0, "profile": "exponential", "seed": 1, "test_images": 9}
    first = manifest(read(tmp_path), **facts)
    assert first["lists"].keys() == read(tmp_path).lists.keys()
    assert first["lists"]["train"] == first["train_sha256"]
    write(tmp_path, lists(seed=1))
    second = manifest(read(tmp_path), **facts)
    assert all(first["lists"][name] != second["lists"][name] for name in first["lists"])


# digits: 1200 training images, 120 per class, of which the lists hold out 20


def digits(*words):
    return validate(compose(["imbalance=if10", "split_seed=1", *words]))


@pytest.fixture
def folder(tmp_path):
    labels = load_data(validate(compose(["imbalance=native"])), "cpu").train.labels.numpy()
    classes = [np.flatnonzero(labels == label) for label in range(10)]
    counts = class_counts(100, 10, 10, "exponential")[::-1]
    train = np.concatenate([positions[20 : 20 + size] for positions, size in zip(classes, counts, strict=True)])
    held_out = np.concatenate([positions[:20] for positions in classes])
    write(tmp_path / "lists", {"split1/train": train, "validation": held_out})
    return tmp_path / "lists"


def test_a_run_is_done_on_the_lists(folder):
    data = load_data(digits(f"dataset.split_dir={folder}", "evaluation.split=validation"), "cpu")
    assert data.split.class_counts == class_counts(100, 10, 10, "exponential")[::-1]
    assert np.bincount(data.train.labels).tolist() == data.split.class_counts
    assert np.bincount(data.validation.labels).tolist() == [20] * 10
    assert data.manifest["lists"]["train"] == data.manifest["train_sha256"]


def test_a_validation_list_must_be_there_if_it_is_asked_for(folder):
    (folder / "validation.txt").unlink()
    words = (f"dataset.split_dir={folder}", "evaluation.split=validation", "imbalance=native")
    with pytest.raises(ValueError, match="a validation part is asked for, but .* has no list validation"):
        load_data(digits(*words), "cpu")


def test_lists_are_in_the_identity_and_where_they_lie_is_not(folder, tmp_path):
    copytree(folder, tmp_path / "copy")
    here, there, none = (
        digits(*words) for words in ([f"dataset.split_dir={folder}"], [f"dataset.split_dir={tmp_path / 'copy'}"], [])
    )
    assert run_id(here) == run_id(there) != run_id(none)
    assert unseeded(here)["dataset.split_dir"] == "given" and "dataset.split_dir" not in identity_values(none)
    assert not any(key.startswith("lists.") for key in unseeded(here))


def identities(folder, *words):
    config = digits(f"dataset.split_dir={folder}", *words)
    return run_id(config), setting_id(config), stage_one_id(config)


@pytest.mark.parametrize("rule", ["none", "linear_probe", "few_shot_probe"])
@pytest.mark.parametrize(
    "name", ["split1/train", "validation", "probe_full", "split3/probe_9shot", "split4/probe_9shot"]
)
def test_an_identity_has_the_lists_that_decide(name, rule, folder):
    few = ("stage_two.shots=9", "stage_two.shot_seed=3") if rule == "few_shot_probe" else ()
    words = ("method=ce", f"stage_two={rule}", *few)
    before = identities(folder, *words)
    write(folder, {name: range(17)})
    after = identities(folder, *words)
    encoder = name in ("split1/train", "validation")
    probe = {"probe_full": rule != "none", "split3/probe_9shot": rule == "few_shot_probe"}.get(name, False)
    assert (after[0] != before[0]) == (encoder or probe) and (after[2] != before[2]) == encoder
    assert after[1] == before[1]  # splits are repetitions


def test_the_same_command_on_other_lists_is_another_run(folder, tmp_path):
    other = tmp_path / "other"
    copytree(folder, other)
    train = np.loadtxt(folder / "split1" / "train.txt", dtype=int)
    rest = np.setdiff1d(np.arange(1200), [*train, *np.loadtxt(folder / "validation.txt", dtype=int)])
    labels = load_data(validate(compose(["imbalance=native"])), "cpu").train.labels.numpy()
    train[0] = rest[labels[rest] == labels[train[0]]][0]  # one image of its class for another
    write(other, {"split1/train": train})
    runs = tmp_path / "runs"
    words = ("imbalance=if10", "split_seed=1", "method=ce", "stage_two=linear_probe")
    first, second, again, long = (
        execute(tiny(runs, *words, f"dataset.split_dir={lists}", *more))
        for lists, more in ((folder, ()), (other, ()), (folder, ()), (other, ("stage_two.train_split=train",)))
    )
    assert again == first and second[0].run_id != first[0].run_id and second[0].setting_id == first[0].setting_id
    manifests = [json.loads((runs / one.stage_one_id / "split.json").read_text()) for one in (first[0], long[0])]
    assert manifests[0]["train_sha256"] != manifests[1]["train_sha256"]
    assert long[0].stage_one_id == second[0].stage_one_id != first[0].stage_one_id


def test_lists_of_a_probe_may_come_while_an_encoder_is_trained(folder, tmp_path, monkeypatch):
    words = ("imbalance=if10", "split_seed=1", "method=ce", "stage_two=few_shot_probe", "stage_two.shots=2")
    config = tiny(tmp_path / "runs", *words, "stage_two.shot_seed=1", f"dataset.split_dir={folder}")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            execute(config)
    labels = load_data(validate(compose(["imbalance=native"])), "cpu").train.labels.numpy()
    write(folder, {"split1/probe_2shot": np.concatenate([np.flatnonzero(labels == label)[-2:] for label in range(10)])})
    record, path = execute(config)
    manifest = json.loads((path / "split.json").read_text())
    below = json.loads((path.parent / record.stage_one_id / "split.json").read_text())
    assert manifest["lists"].keys() == {"train", "validation", "split1/probe_2shot"}
    assert below["lists"].keys() == {"train", "validation"}


# The published lists, with labels made up so that the classes of one of them follow the profile.


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.exists():
        pytest.skip(f"the published lists are no part of the project; they are not at {PUBLISHED}")
    with np.load(PUBLISHED) as masks:
        return {name: np.flatnonzero(np.unpackbits(masks[name])[:50_000]) for name in masks.files}


def layout(published, folder):
    names = {"probe_full_train": "probe_full", "validation": "validation"}
    found = {}
    for name, positions in published.items():
        split, _, kind = name.partition("_")
        found[names.get(name, f"{split}/{kind.replace('pretrain', 'train')}")] = positions
    write(folder, found, binary=found)


def labels_of(published, number):
    """Labels of 50,000 images, 500 per class, 50 of them held out, with the profile's counts in one train list."""
    random, labels = np.random.RandomState(number), np.full(50_000, -1)
    counts = np.array(class_counts(450, 100, 100, "exponential"))[random.permutation(100)]
    labels[published[f"split{number}_pretrain"]] = np.repeat(np.arange(100), counts)
    labels[published["validation"]] = np.repeat(np.arange(100), 50)
    labels[labels < 0] = np.repeat(np.arange(100), 450 - counts)
    return labels


@pytest.mark.parametrize("number", range(1, 6))
def test_published_lists_are_taken(published, number, tmp_path):
    layout(published, tmp_path)
    labels = labels_of(published, number)
    split = read_split(tmp_path, number, labels, 100, factor=100.0, profile="exponential")
    assert (len(split.train), len(split.validation), len(split.balanced)) == (9754, 5000, 40_000)
    assert sorted(split.class_counts) == class_counts(450, 100, 100, "exponential")[::-1]
    np.testing.assert_array_equal(split.train, published[f"split{number}_pretrain"])
    other = number % 5 + 1
    with pytest.raises(ValueError, match=rf"split{other}.train.npy: 9754 images in classes of .* to "):
        read_split(tmp_path, other, labels, 100, factor=100.0, profile="exponential")


@pytest.mark.parametrize("number", range(1, 6))
def test_published_lists_have_the_relations_of_the_protocol(published, number, tmp_path):
    layout(published, tmp_path)
    split = read_split(tmp_path, number, labels_of(published, number), 100, factor=100.0, profile="exponential")
    held_out = set(split.validation)
    assert all(held_out.isdisjoint(positions) for name, positions in split.lists.items() if name != "validation")
    assert 8630 <= np.isin(split.train, split.balanced).sum() <= 8710
    for shots, images, overlap in ((100, 10_000, (2150, 2210)), (50, 5000, (1065, 1095))):
        few = split.lists[f"split{number}/probe_{shots}shot"]
        assert len(few) == images and np.isin(few, split.balanced).all()
        assert overlap[0] <= np.isin(few, split.train).sum() <= overlap[1]
    fewer, more = (split.lists[f"split{number}/probe_{shots}shot"] for shots in (50, 100))
    assert not np.isin(fewer, more).all()
