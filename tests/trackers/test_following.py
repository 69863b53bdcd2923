"""Trackers follow runs: every epoch once, whatever is killed; what they do, or fail to do, changes nothing."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.chain import assert_identical, killed_until_done, results, tiny
from helpers.command_line import processes_with, wait_for
from helpers.recording_tracker import calls

from lt_bench.record.curves import CURVES, read_curves
from lt_bench.record.identity import identities
from lt_bench.run.execute import carry_out, execute
from lt_bench.trackers import following
from lt_bench.trackers.__main__ import Follower, last_words
from lt_bench.trackers.following import Beginning, notes_of

OWN = ("tracker.mine._target_=helpers.recording_tracker.Recording", "trust=[helpers]")
CE = ("method=ce", "stage_two=cb", "checkpoint.every_epochs=2")


def epochs_told(folder):
    return [(call["stage"], call["epoch"], call["step"]) for call in calls(folder) if call["call"] == "scalars"]


def all_epochs(config):
    one, two = config.train.epochs, config.stage_two.train.epochs
    first = [("stage_one", epoch, epoch) for epoch in range(one)]
    return first + [("stage_two", epoch, one + epoch) for epoch in range(two)]


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    return results(*execute(tiny(tmp_path_factory.mktemp("untracked"), *CE)))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    config = tiny(tmp_path_factory.mktemp("tracked"), *CE, *OWN)
    return config, *execute(config)


def test_a_run_tells_its_config_its_epochs_its_figures_and_its_metrics(tracked):
    config, record, folder = tracked
    told = calls(folder)
    assert [call["call"] for call in told[:2]] == ["__init__", "start"] and told[-1]["call"] == "finish"
    start = told[1]
    assert (start["run"], start["method"], start["step"]) == (record.run_id, "ce", 0)
    assert start["config"]["train.lr"] == config.train.lr
    assert not [key for key in start["config"] if key.startswith(("launch.", "tracker", "trust", "output_dir"))]
    assert epochs_told(folder) == all_epochs(config)
    rows = read_curves(folder.parent / record.stage_one_id / CURVES) + read_curves(folder / CURVES)
    known = [{key: row[key] for key in row.keys() - {"stage", "epoch"}} for row in rows]
    assert [call["values"] for call in told if call["call"] == "scalars"] == known
    assert {"lr", "loss", "seconds"} <= known[0].keys()
    assert [call["name"] for call in told if call["call"] == "figure"] == [
        "class_accuracy",
        "training_curves",
        "confusion",
    ]
    assert told[-1]["metrics"] == dict(record.metrics)


def test_a_tracker_changes_neither_results_nor_identities_and_stands_in_no_record(tracked, untracked):
    _, record, folder = tracked
    assert_identical(results(record, folder), untracked)
    assert "tracker" not in (folder / "record.json").read_text()
    assert not (folder / "own_code.json").exists()


def test_a_finished_run_tells_a_new_tracker_everything_and_an_old_one_nothing(tracked, tmp_path):
    config, record, folder = tracked
    before = calls(folder)
    assert carry_out(config) == 0
    assert calls(folder) == before
    notes_of(folder, "mine").unlink()
    (folder / "calls.jsonl").unlink()
    assert carry_out(config) == 0
    assert epochs_told(folder) == all_epochs(config)
    assert [call for call in calls(folder) if call["call"] == "finish"] == [before[-1]]


def test_a_run_that_is_killed_tells_every_epoch_once_to_the_same_run(tmp_path, monkeypatch, untracked):
    config = tiny(tmp_path, *CE, *OWN)
    killed, (record, folder) = killed_until_done(config, monkeypatch, steps=5)
    assert len(killed) >= 2
    assert_identical(results(record, folder), untracked)
    assert epochs_told(folder) == all_epochs(config)
    starts = [call for call in calls(folder) if call["call"] == "start"]
    assert len(starts) >= 2 and len({call["key"] for call in starts}) == 1
    ends = [call["metrics"] for call in calls(folder) if call["call"] == "finish"]
    assert ends[:-1] == [None] * (len(ends) - 1) and ends[-1] == dict(record.metrics)


@pytest.mark.slow
def test_a_stage_one_of_another_run_is_told_too(tracked, tmp_path):
    config, record, folder = tracked
    words = ("method=ce", "stage_two=ncm", "checkpoint.every_epochs=2")
    other, at = execute(tiny(folder.parent, *words, *OWN))
    assert other.stage_one_id == record.stage_one_id
    assert epochs_told(at) == [told for told in epochs_told(folder) if told[0] == "stage_one"]
    assert calls(at)[-1]["metrics"] == dict(other.metrics)


@pytest.mark.slow
def test_a_stage_one_alone_has_a_tracked_run_of_its_own(tmp_path):
    config = tiny(tmp_path, *CE, *OWN)
    record, folder = execute(config, only_stage_one=True)
    assert folder.name == identities(config)[1]
    assert epochs_told(folder) == [told for told in all_epochs(config) if told[0] == "stage_one"]
    assert [call["call"] for call in calls(folder)][-1] == "finish"


SLOW = [pytest.param(call, marks=pytest.mark.slow) for call in ("__init__", "start", "figure", "finish")]


@pytest.mark.parametrize("call", ["scalars", *SLOW])
def test_a_tracker_that_fails_is_dropped_with_one_line_and_the_others_go_on(call, tracked, tmp_path, capsys):
    shared = tracked[2].parent
    config = tiny(shared, *CE, *OWN, f"tracker.bad.fails_in={call}", f"tracker.bad._target_={OWN[0].split('=')[1]}")
    for name in ("mine", "bad"):
        notes_of(tracked[2], name).unlink(missing_ok=True)
    capsys.readouterr()
    assert carry_out(config) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert len(said) == 1 and said[0].startswith("lt_bench: tracker bad is dropped, and the run goes on without it")
    assert f"RuntimeError: no {call} today (see " in said[0]
    assert following.read_json(notes_of(tracked[2], "mine"))["finished"] is True


def test_a_setting_that_a_tracker_refuses_is_said_by_its_key(tracked, capsys):
    pytest.importorskip("mlflow", reason="pip install 'lt_bench[mlflow]'")
    folder = tracked[2]
    assert carry_out(tiny(folder.parent, *CE, "tracker=mlflow", "tracker.mlflow.server=banana")) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert "tracker.mlflow.server is an address, not 'banana'; set tracker.mlflow.server=http://localhost:5000" in said


def test_what_an_error_says_is_one_line_that_can_be_read():
    page = "500: <html>\n" + "<p>no\n" * 500
    said = last_words(RuntimeError(page))
    assert said.startswith("RuntimeError: 500: <html> <p>no") and len(said) < 320 and "\n" not in said
    assert last_words(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_epochs_that_wait_are_told_at_once_and_each_once(tracked, tmp_path):
    record = tracked[1]
    target = "helpers.recording_tracker.AtOnce"
    beginning = Beginning("at_once", {"_target_": target}, str(tmp_path), {}, record.to_dict(), 10)
    rows = [{"stage": "stage one", "epoch": epoch, "loss": 0.5} for epoch in range(4)]
    follower = Follower(beginning)
    follower.told([{"row": row} for row in rows])
    follower.told([{"row": rows[-1]}, {"row": {"stage": "stage two", "epoch": 0, "loss": 0.5}}, {"stop": 1}])
    told = [[one["step"] for one in call["epochs"]] for call in calls(tmp_path) if call["call"] == "several"]
    assert told == [[0, 1, 2, 3], [10]] and calls(tmp_path)[-1]["call"] == "finish"
    assert following.read_json(notes_of(tmp_path, "at_once"))["step"] == 11


@pytest.mark.parametrize("words", ["hangs_in=start", pytest.param("leaves_thread=true", marks=pytest.mark.slow)])
def test_a_tracker_that_hangs_never_holds_a_run_up(words, tracked, monkeypatch, capsys):
    folder = tracked[2]
    monkeypatch.setattr(following, "FINISH_S", 3)
    notes_of(folder, "mine").unlink(missing_ok=True)
    assert carry_out(tiny(folder.parent, *CE, *OWN, f"tracker.mine.{words}")) == 0
    assert ("did not end in time" in capsys.readouterr().err) is words.startswith("hangs")


@pytest.mark.slow
def test_trackers_end_after_a_run_that_is_killed(tmp_path):
    words = [*CE, *OWN, f"output_dir={tmp_path}", "train.epochs=100000", "progress=false", "device=cpu"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen([sys.executable, "-m", "lt_bench", *words], env=environment)
    wait_for(lambda: [path for path in tmp_path.glob("*/calls.jsonl") if "scalars" in path.read_text()], 120)
    children = {pid for pid in processes_with("lt_bench.trackers") if os.getsid(pid) == pid and parent(pid) == run.pid}
    assert len(children) == 1
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_for(lambda: not children & set(processes_with("lt_bench.trackers")))
    (path,) = tmp_path.glob("*/calls.jsonl")
    assert calls(path.parent)[-1] == {"call": "finish", "metrics": None}


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_other_ranks_have_no_trackers(tmp_path):
    config = tiny(tmp_path, *CE, *OWN)
    with following.Trackers(config, tmp_path, pytest.fail, writes=False) as trackers:
        trackers.epoch({"stage": "stage one", "epoch": 0})
        trackers.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_drops_trackers_alone(tmp_path, capsys):
    config = tiny(tmp_path, *CE, *OWN)
    (tmp_path / "trackers").write_text("no folder")
    with following.Trackers(config, tmp_path, pytest.fail) as trackers:
        trackers.epoch({"stage": "stage one", "epoch": 0})
        trackers.finish()
    assert capsys.readouterr().err.count("tracker mine is dropped") == 1
