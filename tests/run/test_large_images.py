"""The whole chain on trees of JPEG files: every data set of files, resuming, broken images, two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import image_trees
from helpers.chain import TINY, Killed, assert_identical, execute, kill_after, results, tiny
from helpers.two_processes import on_two

from lt_bench.config.compose import compose, groups
from lt_bench.contracts import Method
from lt_bench.data.load import load_data
from lt_bench.data.splits.imbalance import class_counts
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.engine.predict import embed_plain
from lt_bench.errors import DataError, UsageError
from lt_bench.preflight.validate import validate
from lt_bench.record.record import read_record
from lt_bench.run.build import build

BATCHES = ("train.batch_size=16", "stage_two.train.batch_size=16", "method=bcl", "stage_two=cb")
BCL = (*BATCHES, "method.views=[cls,sim_wide,sim_wide]", "method.projection_dim=16")


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "data").mkdir()
    return image_trees.image_lists(tmp_path / "data")


@pytest.mark.parametrize("dataset", ["imagenet_lt", "places_lt", "inat18", "imagenet", "image_folder"])
def test_every_data_set_of_files_from_images_to_record(dataset, tmp_path):
    root = image_trees.tree(tmp_path / "data", dataset)
    words = ["method=ce", "stage_two=cb", "train.batch_size=16", "stage_two.train.batch_size=16"]
    words += ["dataset.validation_fraction=0"]  # of images of one's own a part is held out unless this is said
    record, folder = execute(tiny(tmp_path / "runs", *image_trees.overrides(root, dataset), *words))
    assert (record.dataset, record.imbalance_factor, record.backbone) == (dataset, None, "tiny")
    assert record.metrics["train_counts"] == list(image_trees.COUNTS)
    assert set(record.metrics["test_counts"]) == {2 if dataset == "inat18" else 3}
    lists = json.loads((folder / "split.json").read_text())["lists_sha256"]
    assert {"train", "test"} <= lists.keys() and all(len(digest) == 64 for digest in lists.values())


def test_every_data_set_of_files_is_tried():
    targets = {name: compose([f"dataset={name}"]).dataset._target_ for name in groups()["dataset"]}
    files = {name for name, target in targets.items() if target.endswith("image_lists.read")}
    assert files == {*image_trees.STEMS, "imagenet", "image_folder"}


def test_an_artificial_tail_and_the_validation_list(tree, tmp_path):
    words = [*image_trees.overrides(tree), "method=ce", "train.batch_size=16", "evaluation.split=validation"]
    tail = ("imbalance.factor=3", "dataset.pool_per_class=3", "evaluation.select=best_validation")
    record, _ = execute(tiny(tmp_path / "runs", *words, *tail))
    assert record.metrics["train_counts"] == class_counts(3, 8, 3, "exponential")
    assert record.metrics["test_counts"] == [2] * 8 and record.evaluated_on == "validation"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_inside_an_epoch_ends_as_if_undisturbed(workers, tree, tmp_path, monkeypatch):
    words = [*image_trees.overrides(tree), *BCL, "checkpoint.every_steps=2", "budget.max_steps_per_epoch=3"]
    undisturbed = results(*execute(tiny(tmp_path / "undisturbed", *words)))
    config = tiny(tmp_path / "killed", *words, f"dataset.workers={workers}")
    deaths = 0
    while True:
        with monkeypatch.context() as patch:
            kill_after(patch, 3)
            try:
                outcome = execute(config)
                break
            except Killed:
                deaths += 1
    assert deaths >= 2
    assert_identical(results(*outcome), undisturbed)


@pytest.mark.slow
def test_sbcl_clusters_images_that_workers_read(tree, tmp_path):
    words = [*image_trees.overrides(tree), "method=sbcl", "method.minimum_size=3", "method.cluster_view=sim_blur"]
    config = tiny(tmp_path, *words, *BATCHES[:2], "method.warm_epochs=1", "method.update_interval=1")
    outcome = results(*execute(config))
    assert outcome["stage one"]["subclasses"].unique().numel() > 8
    again = tiny(tmp_path / "again", *words, *BATCHES[:2], "method.warm_epochs=1", "method.update_interval=1")
    assert_identical(results(*execute(again)), outcome)


def test_a_probe_is_fitted_on_a_list_of_its_own_and_shares_the_encoder(tree, tmp_path):
    image_trees.write_classes(tree / "all", (6,) * 8, first=2000)
    rows = [line for line in (tree / "lists" / "ImageNet_LT_train.txt").read_text().splitlines() if "n0000" in line]
    for label in range(1, 8):
        rows += [f"all/n{label:04d}/n{label:04d}_{number}.JPEG {label}" for number in (2000, 2001)]
    (tree / "lists" / "probe.txt").write_text("\n".join(rows))
    words = [*image_trees.overrides(tree), "method=boosted_cl_gh", "train.batch_size=16", "stage_two=few_shot_probe"]
    runs = tmp_path / "runs"
    with pytest.raises(UsageError, match=r"shots=6, but class 7 has 3 images .* dataset.probe_list to a list"):
        execute(tiny(runs, *words, "stage_two.shots=6"))
    folder, listed = (
        execute(tiny(runs, *words, f"dataset.probe_list={name}", f"stage_two.shots={shots}"))
        for name, shots in (("all", 6), ("probe.txt", 2))
    )
    assert folder[0].stage_one_id == listed[0].stage_one_id and folder[0].run_id != listed[0].run_id
    assert folder[0].metrics["train_counts"] == list(image_trees.COUNTS)
    stored = [json.loads((path / "split.json").read_text())["lists_sha256"] for _, path in (folder, listed)]
    assert stored[0]["probe"] != stored[1]["probe"]
    assert "probe" not in json.loads((runs / folder[0].stage_one_id / "split.json").read_text())["lists_sha256"]
    with pytest.raises(UsageError, match="class 1 has 2 images"):
        execute(tiny(runs, *words, "dataset.probe_list=probe.txt", "stage_two.shots=3"))


def test_a_run_without_a_probe_goes_on_when_a_probe_list_is_named(tree, tmp_path, monkeypatch):
    (tree / "lists" / "probe.txt").write_text((tree / "lists" / "ImageNet_LT_train.txt").read_text())
    words = [*image_trees.overrides(tree), *BATCHES[:2], "method=ce", "stage_two=cb", "checkpoint.every_steps=1"]
    with monkeypatch.context() as patch:
        kill_after(patch, 2)
        with pytest.raises(Killed):
            execute(tiny(tmp_path / "runs", *words))
    record, folder = execute(tiny(tmp_path / "runs", *words, "dataset.probe_list=probe.txt"))
    assert "probe" not in json.loads((folder / "split.json").read_text())["lists_sha256"]
    assert execute(tiny(tmp_path / "runs", *words))[0] == record


def test_shots_of_a_probe_list_are_its_own_images(tree):
    image_trees.write_classes(tree / "all", (6,) * 8, first=2000)
    config = validate(compose([*image_trees.overrides(tree), "dataset.probe_list=all"]))
    data = load_data(config, torch.device("cpu"))
    few = data.for_stage_two("balanced", shots=4)
    assert few.labels.tolist() == sorted([*range(8)] * 4) and len(data.for_stage_two("balanced").labels) == 48
    assert all(name.startswith(b"all/") for name in few.images().reader.images.names)
    assert data.for_stage_two("train").images() is data.train and data.train_counts.tolist() == list(image_trees.COUNTS)


def test_a_broken_image_stops_the_run_or_is_counted(tree, tmp_path):
    for path in list((tree / "train" / "n0000").iterdir())[:20]:
        path.write_bytes(path.read_bytes()[:200])
    words = [*image_trees.overrides(tree), "method=ce", "train.batch_size=16", "budget.max_steps_per_epoch=null"]
    with pytest.raises(DataError, match=r"train/n0000/n0000_\d+\.JPEG is not a complete image"):
        execute(tiny(tmp_path / "runs", *words))
    record, folder = execute(tiny(tmp_path / "runs", *words, "dataset.on_bad_image=skip"))
    first = read_record(tmp_path / "runs" / record.stage_one_id / "record.json")
    assert first.cost["skipped_images"] == 20


def test_skipped_images_are_those_of_a_stage_also_after_an_interruption(tree, tmp_path, monkeypatch):
    for path in list((tree / "train" / "n0000").iterdir())[:20]:
        path.write_bytes(path.read_bytes()[:200])
    # few steps, so that not every broken image is met
    words = [*image_trees.overrides(tree), *BCL, "dataset.on_bad_image=skip", "checkpoint.every_steps=1"]
    words += ["budget.epoch_scale=1", "train.epochs=1", "stage_two.train.epochs=6"]
    counts = []
    for name, deaths in (("undisturbed", ()), ("killed", (2, 2))):  # after the first step, then inside stage two
        config = tiny(tmp_path / name, *words)
        for steps in deaths:
            with monkeypatch.context() as patch, pytest.raises(Killed):
                kill_after(patch, steps)
                execute(config)
        record, _ = execute(config)
        first = read_record(tmp_path / name / record.stage_one_id / "record.json")
        counts.append((first.cost["skipped_images"], record.cost["skipped_images"]))
    assert counts[0] == counts[1] and all(0 < count < 20 for count in counts[0])


def test_other_lists_are_another_split(tree, tmp_path):
    words = [*image_trees.overrides(tree), "method=ce", "train.batch_size=16"]
    config = tiny(tmp_path / "runs", *words, "dataset.train_images=80")
    _, folder = execute(config)
    (folder / "record.json").unlink()
    unnamed = tiny(tmp_path / "runs", *words)
    record, _ = execute(unnamed)
    path = tree / "lists" / "ImageNet_LT_train.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]))
    assert execute(config)[0].run_id != folder.name  # a list that is not the published one is known by its lines
    assert execute(unnamed)[0].run_id != record.run_id  # and what nobody has published by its images


def data_order(processes, folder, tree):
    """Indices and views of two epochs of this rank, and the features of the test images."""
    config = validate(compose([*image_trees.overrides(tree), *BCL]))
    data = load_data(config, torch.device("cpu"))
    run = EngineContext(processes, 0, data.train)
    encoder = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten())
    encoder.feature_dim = 12
    method = Method()
    method.views, method.weight = tuple(config.method["views"]), torch.nn.Parameter(torch.zeros(1))
    schedule = build(config.train.schedule, "train.schedule")
    stage = Stage("s", folder, "c", config.budget, config.checkpoint, False)
    trainer = Trainer(method, data.train, config.train, schedule, run, stage)
    batches = [batch for epoch in (0, 1) for batch in trainer.batches(epoch)]
    views = [torch.cat([batch.views[number] for batch in batches]) for number in range(3)]
    return {
        "sizes": torch.tensor([len(batch.indices) for batch in batches]),
        "indices": torch.cat([batch.indices for batch in batches]),
        "views": torch.stack(views),
        "features": embed_plain(encoder, data.test, 5),
        "embedded": run.embed(encoder, "sim_wide"),
    }


def in_this_tree(processes, folder):
    return data_order(processes, folder, Path(os.environ["LT_BENCH_TEST_TREE"]))


@pytest.mark.slow
def test_two_processes_see_what_one_sees(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("LT_BENCH_TEST_TREE", str(tree))
    alone = data_order(Processes(0, 1, torch.device("cpu")), tmp_path, tree)
    parts = on_two(in_this_tree)
    start = 0
    for size, begin in zip(alone["sizes"].tolist(), alone["sizes"].cumsum(0).tolist(), strict=True):
        half = size // 2
        for rank, part in enumerate(parts):
            here = slice(begin - size + rank * half, begin - size + (rank + 1) * half)
            there = slice(start, start + half)
            assert torch.equal(part["indices"][there], alone["indices"][here])
            torch.testing.assert_close(part["views"][:, there], alone["views"][:, here])
        start += half
    for part in parts:
        torch.testing.assert_close(part["features"], alone["features"])
        torch.testing.assert_close(part["embedded"], alone["embedded"])


@pytest.mark.slow
def test_a_run_on_two_processes(tree, tmp_path):
    words = [*TINY, *image_trees.overrides(tree), *BCL, f"output_dir={tmp_path / 'runs'}", "dataset.workers=1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lt_bench"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = next(
        record for record in map(read_record, (tmp_path / "runs").glob("*/record.json")) if record.kind == "run"
    )
    assert record.environment["processes"] == 2 and record.metrics["test_counts"] == [3] * 8
