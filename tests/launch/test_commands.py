"""``python -m lt_bench.launch``: plans, tables, estimates, retry and cancel, without torch and without a cluster."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from helpers.command_line import without_torch
from helpers.samples import predictions

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.files import write_json
from lt_bench.launch import __main__ as commands
from lt_bench.launch.__main__ import main
from lt_bench.launch.planning.identity_cache import cached_identities
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze
from lt_bench.liveness import this_process
from lt_bench.record.folder import RunFolder
from lt_bench.record.identity import identities


def submitted(tmp_path, *overrides, status=None):
    """Runs that were submitted into a folder, with the given status.json."""
    runs = plan([*overrides, f"output_dir={tmp_path}"])
    for run in runs:
        freeze(Submission(run.config, False, {}, run.overrides), run.identity)
        if status:
            write_json(run.folder / "status.json", status)
    return runs


def test_a_plan_shows_what_is_done_and_what_it_would_cost(tmp_path, record, capsys, monkeypatch):
    monkeypatch.setattr("lt_bench.launch.planning.estimate.gpu_name", lambda: "H100")
    overrides = ["method=ce", "stage_two=none,cb", "seed=1,2", f"output_dir={tmp_path}"]
    runs = plan(overrides)
    done = record(runs[0], 36.0, 72.0)
    write_json(runs[0].folder / "record.json", done.to_dict())
    write_json(runs[1].folder / "status.json", {"state": "failed", "error": "E"})
    assert main(["plan", *overrides]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [runs[0].identity, "done", runs[0].stage_one, "stage_two=none", "seed=1"]
    assert [line.split()[1] for line in lines[2:5]] == ["failed", "to", "to"]
    assert lines[6] == "runs: 4, done: 1, failed: 1"
    assert lines[7].startswith("to do: 3, stage ones that are shared and trained once: 1; about 0.0")
    assert lines[7].endswith("GPU-hours on H100, from the records of 1 earlier runs; 2 runs without similar records")
    assert not list(tmp_path.glob("*/submission.json"))  # a plan writes nothing


def test_records_that_contradict_each_other_do_not_stop_a_plan(tmp_path, record, capsys):
    overrides = ["method=ce", f"output_dir={tmp_path}"]
    (run,) = plan(overrides)
    for folder, fidelity in ((run.folder, "clean"), (tmp_path / "copy", "official")):
        write_json(folder / "record.json", record(run, 1.0, 1.0).to_dict() | {"fidelity": fidelity})
    assert main(["plan", "seed=0,1", *overrides]) == 0
    said = capsys.readouterr()
    assert "no estimate" in said.out and "warning: no estimate: run" in said.err and "remove one" in said.err


def test_a_status_shows_every_run_of_a_folder(tmp_path, record, capsys):
    done, failed = submitted(tmp_path, "method=ce", "seed=1,2", status={"state": "failed", "error": "x" * 200})
    write_json(done.folder / "record.json", record(done, 1.0, 1.0).to_dict())
    assert main(["status", "--runs", str(tmp_path)]) == 0
    first, second = sorted(capsys.readouterr().out.splitlines()[1:3], key=lambda line: "failed" in line)
    what = "CE / –, digits_lt IF 20, seed 1 90.0 %, predictions.npz is not there"
    assert first.split() == [done.identity, "done", *what.split()]
    assert second.startswith(failed.identity) and second.endswith("x" * 99 + "…")
    assert main(["status", "method=ce", "seed=2,3", f"output_dir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert failed.identity in said and done.identity not in said and "runs: 2, done: 0, failed: 1" in said
    assert "by hand" not in said  # what was only planned was not started


def test_a_run_by_hand_and_the_progress_of_a_run(tmp_path, record, capsys):
    (by_hand,) = plan(["method=ce", f"output_dir={tmp_path}"])
    write_json(by_hand.folder / "record.json", record(by_hand, 1.0, 1.0).to_dict())
    (running,) = submitted(tmp_path, "method=ce", "seed=1")
    write_json(running.folder / "heartbeat", this_process())
    write_json(running.folder / "status.json", {"state": "running", "host": "elsewhere", "pid": 1})
    (running.folder / "metrics.jsonl").write_text('{"stage": "stage two", "epoch": 3, "loss": 0.12345}\n')
    main(["status", "--runs", str(tmp_path)])
    said = capsys.readouterr().out
    assert "SBCL / CB, digits_lt, seed 0" in said and "stage two, epoch 3, loss 0.123" in said


@pytest.mark.parametrize("state", ["running", "failed", "interrupted"])
def test_a_run_that_was_started_by_hand_is_named_by_its_config(state, tmp_path, capsys):
    (run,) = plan(["method=ce", "seed=3", f"output_dir={tmp_path}"])
    with RunFolder(run.config, run.identity) as folder:
        folder.status(state)
    assert main(["status", "--runs", str(tmp_path)]) == 0
    assert "CE / –, digits_lt IF 20, seed 3, started by hand" in capsys.readouterr().out
    for text in ("a: [", "[1]", None):  # broken, something else, missing
        (run.folder / "config.yaml").write_text(text) if text else (run.folder / "config.yaml").unlink()
        assert main(["status", "--runs", str(tmp_path)]) == 0
        assert "  started by hand" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", '{"config": {}}', f'{{"config": {"[" * 700 + "]" * 700}}}'])
def test_a_submission_that_cannot_be_read_is_said(text, tmp_path, capsys):
    (run,) = submitted(tmp_path, "method=ce")
    (run.folder / "submission.json").write_text(text)
    assert main(["status", "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert run.identity in said and "submission.json cannot be read" in said and "by hand" not in said


def test_watching_ends_when_nothing_is_running_or_queued(tmp_path, capsys, monkeypatch):
    (run,) = submitted(tmp_path, "method=ce")
    write_json(run.folder / "heartbeat", this_process())
    naps, sleep = [], commands.time.sleep

    def nap(seconds):
        if seconds < commands.WATCH_S:  # a call elsewhere
            return sleep(seconds)
        naps.append(seconds)
        if len(naps) == 2:
            (run.folder / "heartbeat").unlink()

    monkeypatch.setattr(commands.time, "sleep", nap)
    assert main(["status", "--watch", "--runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count(run.identity) == 3 and len(naps) == 2


def test_retry_is_about_what_has_failed(tmp_path, capsys, monkeypatch):
    taken = []
    monkeypatch.setattr("lt_bench.launch.sweep._run_here", lambda jobs: taken.extend(jobs) or 0)
    (failed,) = submitted(tmp_path, "method=ce", "seed=1", "train.lr=0.07", status={"state": "failed"})
    (fresh,) = submitted(tmp_path, "method=ce", "seed=2")
    assert main(["retry", "--runs", str(tmp_path)]) == 0
    ((group, (job,)),) = taken
    assert job.folder == failed.folder and group.runs[0].config.train.lr == 0.07
    assert main(["retry", "method=ce", "seed=1,2", f"output_dir={tmp_path}"]) == 0
    assert len(taken) == 1  # it is "submitted" by now, and the other has not failed
    assert "no run of this sweep has failed" in capsys.readouterr().out
    assert main(["retry", "--runs", str(tmp_path / "none")]) == 0
    assert f"no submitted run in {tmp_path / 'none'} has failed" in capsys.readouterr().out


def test_retry_does_not_cache_identities_of_older_submissions(tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.launch.sweep._run_here", lambda jobs: 0)
    submitted(tmp_path, "method=ce", status={"state": "failed"})
    assert main(["retry", "--runs", str(tmp_path)]) == 0
    assert not (tmp_path / "launch" / "plan.json").exists()
    (run,) = submitted(tmp_path, "method=ce", "seed=1", status={"state": "failed"})
    assert main(["retry", *run.overrides]) == 0
    assert list(cached_identities(str(tmp_path)).values()) == [(run.identity, run.stage_one)]


def test_an_outdated_submission_does_not_stop_the_retry_of_others(tmp_path, capsys, monkeypatch):
    taken = []
    monkeypatch.setattr("lt_bench.launch.sweep._run_here", lambda jobs: taken.extend(jobs) or 0)
    (outdated,) = submitted(tmp_path, "method=ce", "seed=1", status={"state": "failed"})
    outdated.folder.rename(tmp_path / ("0" * 12))
    assert main(["retry", "--runs", str(tmp_path)]) == 2
    (failed,) = submitted(tmp_path, "method=ce", "seed=2", status={"state": "failed"})
    assert main(["retry", "--runs", str(tmp_path)]) == 0
    assert [job.folder for _, (job,) in taken] == [failed.folder]
    assert capsys.readouterr().err.count(f"means run {outdated.identity}; submit the sweep again") == 2


def test_cancel_without_a_cluster_has_nothing_to_cancel(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    submitted(tmp_path, "method=ce")
    assert main(["cancel", "--runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "cancelled 0 of the cluster's jobs\n"


def test_missing_runs_and_logs_are_reported(tmp_path, capsys):
    assert main(["status", "--runs", str(tmp_path / "none")]) == 0
    assert "there are no runs in" in capsys.readouterr().out
    (run,) = submitted(tmp_path, "method=ce")
    assert main(["logs", run.identity, "--runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"{run.folder} has no log")


def test_logs_show_the_last_lines(tmp_path, capsys):
    (run,) = submitted(tmp_path, "method=ce")
    (run.folder / "log.txt").write_text("".join(f"line {number}\n" for number in range(50)))
    (run.folder / "log.1.txt").write_text("of rank 1\n")
    assert main(["logs", run.identity[:4], "--lines", "2", "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "line 48\nline 49\n" in said and "line 47" not in said and "of rank 1" in said
    (run.folder / "log.2.txt").mkdir()
    assert main(["logs", run.identity, "--runs", str(tmp_path)]) == 0
    assert f"==> {run.folder / 'log.2.txt'} <==\ncannot be read (Is a directory)\n" in capsys.readouterr().out
    assert main(["logs", "zzz", "--runs", str(tmp_path)]) == 2 and main(["logs", "--runs", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a command: plan, submit, status, retry, cancel, logs"),
        (["logs", "0", "--lines", "0"], "--lines takes numbers from 1"),
        (["start"], "invalid choice: 'start'"),
        (["plan", "sed=1"], "unknown key sed (did you mean seed?)"),
        (["plan", "seed=range(0,3,0)"], "seed=range(0,3,0): the step of a range is not 0"),
        (["cancel", "--dry-run"], "--dry-run is for submit; leave it out"),
        (["plan", "--watch"], "--watch is for status; leave it out"),
        (["status", "--lines", "3"], "--lines is for logs; leave it out"),
        (["plan", "--runs", "x"], "--runs is for commands without overrides; write output_dir=x"),
        (["status", "seed=1", "--runs", "x"], "--runs is for commands without overrides"),
        (["status", "--wach"], "unrecognized arguments: --wach"),
    ],
)
def test_wrong_usage(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_the_commands_need_no_torch(tmp_path):
    environment = without_torch(tmp_path)
    for arguments in (["--help"], ["plan", "seed=1,2"], ["status"], ["retry"], ["submit", "seed=1,2", "--dry-run"]):
        done = subprocess.run(
            [sys.executable, "-m", "lt_bench.launch", *arguments],
            capture_output=True, text=True, env=environment, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_an_identity_does_not_depend_on_where_a_run_is_carried_out():
    (here,) = plan(["seed=1"])
    for overrides in (["launch=slurm"], ["launch=slurm_two_nodes", "launch.partition=x", "launch.setup=[a]"]):
        (there,) = plan(["seed=1", *overrides])
        assert identities(there.config) == identities(here.config)
        assert dataclasses.replace(there.config, launch=here.config.launch) == here.config


def test_a_status_says_what_speaks_against_an_accuracy(tmp_path, record, capsys, monkeypatch):
    monkeypatch.setattr("lt_bench.data.files.digests.SETTLED_NS", -(10**11))  # what was written just now is kept
    (run,) = submitted(tmp_path, "method=ce", "seed=1")
    made = predictions(np.eye(3)[[0, 1, 2, 0]], [0, 1, 2, 1], [9, 5, 1])
    written = record(run, 1.0, 1.0).to_dict() | {"group_rule": "thirds"}

    def shown(metrics):
        write_json(run.folder / "record.json", written | {"metrics": metrics})
        assert main(["status", "--runs", str(tmp_path)]) == 0
        return capsys.readouterr().out.splitlines()[1]

    save_predictions(run.folder / "predictions.npz", made)
    true = evaluate(made)
    assert shown(true).endswith("seed 1  75.0 %")
    assert "75.0 %, contradicts" not in shown(true) and (run.folder / "verified.json").exists()
    assert "80.0 %, contradicts its predictions: top1 is 0.8" in shown({**true, "top1": 0.8})
    (run.folder / "predictions.npz").write_bytes(b"x")
    assert "75.0 %, not compared with its predictions" in shown(true)
