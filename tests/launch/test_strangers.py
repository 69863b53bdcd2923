"""Run folders that somebody else has made: looked at and tried again, they run nothing of theirs unasked."""

import json
import os
import sys

import pytest

from lt_bench.errors import UsageError
from lt_bench.files import read_json, write_json
from lt_bench.launch.__main__ import main
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze, job_logs, thaw

THEIRS = "open('run.txt', 'w').close()\nclass Mine:\n    def __init__(self, encoder, info): raise ValueError('ran')\n"
WORDS = ["method=ce", "stage_two=cb", "method._target_=theirs.Mine", "budget=smoke", "progress=false", "device=cpu"]


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A folder of somebody's, with a module, which is the current folder, and a way to submit runs into it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text(THEIRS)

    def submitted(*words, **changes):
        (run,) = plan([*words, "output_dir=runs"])
        folder = freeze(Submission(run.config, False, {}, run.overrides), run.identity)
        values = read_json(folder / "submission.json")
        for key, value in changes.items():
            values["config"][key] = {**values["config"][key], **value} if isinstance(value, dict) else value
        write_json(folder / "submission.json", values)
        write_json(folder / "status.json", {"state": "failed", "kind": "run", "error": "\x1b]0;owned\x07"})
        return folder

    yield submitted
    sys.modules.pop("theirs", None)


def test_a_failed_run_of_theirs_is_not_tried_again_unasked(theirs, tmp_path, capsys):
    folder = theirs(*WORDS)
    assert read_json(folder / "submission.json")["config"]["trust"] == ["theirs"]
    assert main(["retry", "--runs", "runs"]) == 2
    assert "add trust=[theirs]" in capsys.readouterr().err
    assert not (tmp_path / "run.txt").exists() and "theirs" not in sys.modules
    with pytest.raises(UsageError, match=r"trust=\[theirs\]"):
        thaw(folder)
    assert thaw(folder, ["theirs"]).config.trust == ["theirs"]


@pytest.mark.slow
def test_it_is_tried_again_where_that_is_asked(theirs, tmp_path, capsys):
    theirs(*WORDS)
    assert main(["retry", "trust=[theirs]", "--runs", "runs"]) == 1  # it runs, and fails
    assert (tmp_path / "run.txt").exists()
    assert "code of your own: theirs" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["setup", "sbatch"])
def test_commands_for_a_cluster_are_not_run_unasked(key, theirs, capsys):
    value = ["touch run.txt"] if key == "setup" else ["--comment=x"]
    theirs("method=ce", launch={"executor": "slurm", key: value})
    assert main(["retry", "--runs", "runs"]) == 2
    assert "add trust=[launch.setup]" in capsys.readouterr().err


def test_no_line_of_a_job_script_is_theirs(theirs, capsys):
    theirs("method=ce", launch={"executor": "slurm", "partition": "gpu\n#SBATCH --wrap=x"})
    assert main(["retry", "--runs", "runs"]) == 2
    assert "takes one line of text" in capsys.readouterr().err


def test_a_run_is_carried_out_where_it_lies(theirs, tmp_path):
    folder = theirs("method=ce", output_dir=str(tmp_path / "somewhere"))
    assert thaw(folder).config.output_dir == str(tmp_path / "runs")


def test_a_submission_refers_to_nothing_outside_it(theirs):
    folder = theirs("method=ce", method={"title": "${oc.env:HOME}"})
    with pytest.raises(UsageError, match="refers to its own keys"):
        thaw(folder)


def test_what_is_shown_of_them_does_not_act_on_the_terminal(theirs, capsys):
    folder = theirs("method=ce")
    (folder / "log.txt").write_text("one\x1b[2Jtwo\n")
    assert main(["status", "--runs", "runs"]) == 0 and main(["logs", folder.name, "--runs", "runs"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\\x1b]0;owned" in shown and "one\\x1b[2Jtwo" in shown


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"run": "../../x", "job": ["1"], "logs": 3}', "\x00", "3"),
        *(json.dumps({"job": "1", "logs": logs}) for logs in ("x" * 5000, "a\0b")),
    ],
)
def test_files_that_are_not_what_they_should_be_are_ignored(text, theirs, capsys):
    folder = theirs("method=ce")
    for name in ("job.json", "status.json", "submission.json", "metrics.jsonl", "record.json"):
        (folder / name).write_text(text)
    (folder / "config.yaml").write_text("a: &a [x, x]\nb: [*a, *a]\n")
    assert main(["status", "--runs", "runs"]) == 0
    assert job_logs(folder) == []


def test_pipes_hang_nothing(theirs):
    folder = theirs("method=ce")
    for name in ("job.json", "status.json", "record.json", "config.yaml", "metrics.jsonl", "log.txt"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    assert main(["status", "--runs", "runs"]) == 0
    assert main(["logs", folder.name, "--runs", "runs"]) == 0


def test_words_of_a_retry_that_name_no_module_are_refused(theirs, capsys):
    assert main(["retry", "trust=[a/b]"]) == 2
    assert "'a/b' is no module" in capsys.readouterr().err
