"""How long it takes from a node's death until its runs train again, by the clock of whoever starts them anew."""

import fcntl
import json
from contextlib import ExitStack

import pytest
from helpers.chain import TINY, execute
from helpers.clocks import Clock
from helpers.image_trees import write_classes

from lt_bench.data.files.digests import cache_folder
from lt_bench.files import write_json
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.sweep import run_sweep
from lt_bench.liveness import STILL_S, this_process

LONGEST_S = 120


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The overrides of a run on images of one's own, whose digests nobody has."""
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))
    write_classes(tmp_path / "data" / "train", (4, 3))
    write_classes(tmp_path / "data" / "test", (2, 2), first=100)
    own = ("dataset=image_folder", f"dataset.root={tmp_path / 'data'}", "dataset.image_size=16", "dataset.workers=0")
    shape = ("dataset.validation_fraction=0", "backbone=tiny", "method=ce", "recipe=none", "stage_two=cb")
    return [*TINY, *own, *shape, f"output_dir={tmp_path / 'runs'}"]


@pytest.fixture
def run(words, tmp_path, monkeypatch):
    """A run, planned by another process."""
    Clock().of_new_process(monkeypatch)
    (planned,) = plan(words)
    for path in cache_folder().iterdir():
        path.unlink() if path.suffix == ".txt" else None
    return planned


@pytest.fixture
def left(run, tmp_path):
    """All that a node may leave: locks of five of its processes, which the file system keeps, and signs of life."""
    (digests,) = cache_folder().glob("digests-*.lock")
    locks = [digests, *(folder / "lock" for folder in (tmp_path / "runs/launch", run.folder, run.stage_one_folder))]
    with ExitStack() as kept:
        for number, path in enumerate(locks):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**this_process(), "host": "node7", "pid": number}))
            fcntl.flock(kept.enter_context(path.open()), fcntl.LOCK_EX)
        for folder in (run.folder, run.stage_one_folder):
            write_json(folder / "status.json", {"state": "running", "kind": "run", "host": "node7", "pid": 1})
            write_json(folder / "heartbeat", {"host": "node7", "pid": 2})
        yield locks


def test_a_sweep_that_is_started_again_trains_within_two_minutes(run, left, words, monkeypatch, capsys):
    def in_a_process_of_its_own(jobs):
        clock.of_new_process(monkeypatch)
        trained.append(clock.now)
        trained.append((execute(run.config)[0].run_id, clock.now))
        return 0

    clock, trained = Clock(), []
    monkeypatch.setattr("lt_bench.launch.sweep._run_here", in_a_process_of_its_own)
    clock.of_new_process(monkeypatch)
    assert run_sweep(words) == 0
    started, (identity, ended) = trained
    assert identity == run.identity and ended == started  # it need not look at what the sweep has seen
    assert 2 * STILL_S <= started <= LONGEST_S
    assert capsys.readouterr().err.count("which is dead: taken over") == len(left)


def test_a_run_that_is_started_again_trains_within_two_minutes(run, left, monkeypatch):
    """By hand, or by a scheduler: it waits for the images, then for its own lock and stage one's together."""
    clock = Clock()
    clock.of_new_process(monkeypatch)
    record, folder = execute(run.config)
    assert record.run_id == run.identity and 2 * STILL_S <= clock.now <= LONGEST_S
