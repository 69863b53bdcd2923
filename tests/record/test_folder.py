"""One process at a time in a run folder, and what stands in it."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from helpers.clocks import Clock
from helpers.command_line import without_torch
from helpers.samples import sample

from lt_bench import __version__
from lt_bench.__main__ import main
from lt_bench.config.compose import compose
from lt_bench.config.schema import plain
from lt_bench.errors import UsageError
from lt_bench.files import atomic_writer, write_json
from lt_bench.liveness import STILL_S
from lt_bench.preflight.validate import validate
from lt_bench.record.folder import RunFolder, _checkout, code_version, environment, finished
from lt_bench.record.identity import run_id

HOLD = """
import sys
from lt_bench.config.compose import compose
from lt_bench.config.schema import plain
from lt_bench.preflight.validate import validate
from lt_bench.record.folder import RunFolder
config = validate(compose(sys.argv[2:]))
with RunFolder(config, sys.argv[1]) as folder:
    folder.status("running")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def config(tmp_path):
    return validate(compose([f"output_dir={tmp_path / 'runs'}"]))


@pytest.fixture
def held(config):
    """A run folder that another process works in, and that process."""
    command = [sys.executable, "-c", HOLD, run_id(config), f"output_dir={config.output_dir}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_config_and_environment_are_frozen_in_it(config):
    with RunFolder(config, "an_id") as folder:
        assert folder.path.name == "an_id" and str(folder.path.parent) == config.output_dir
        assert yaml.safe_load((folder.path / "config.yaml").read_text()) == plain(config)
        found = json.loads((folder.path / "environment.json").read_text())
    assert found["lt_bench"] == __version__ and {"torch", "numpy", "python", "git_commit", "git_dirty"} <= set(found)


def test_the_environment_of_a_checkout_names_its_commit():
    found = environment()
    assert found["git_commit"] is None or (len(found["git_commit"]) == 40 and isinstance(found["git_dirty"], bool))


def test_the_environment_of_an_installed_copy_names_none(monkeypatch, tmp_path):
    monkeypatch.setattr("lt_bench.record.folder.__file__", str(tmp_path / "lt_bench" / "record" / "folder.py"))
    assert environment()["git_commit"] is None


def test_the_version_of_the_code_tells_changes_apart(monkeypatch, tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", *words], cwd=tmp_path, check=True)

    monkeypatch.setattr("lt_bench.record.folder.__file__", str(tmp_path / "lt_bench" / "record" / "folder.py"))
    (tmp_path / "tracked").write_text("1\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    (tmp_path / "untracked").touch()
    clean = code_version()
    assert clean["git_dirty"] is False and clean["git_diff"] is None
    found = []
    for text in ("2\n", "3\n"):
        (tmp_path / "tracked").write_text(text)
        assert code_version() == [clean, *found][-1]  # of what this process has imported
        _checkout.cache_clear()  # another process
        found.append(code_version())
    assert all(one["git_dirty"] and one["git_commit"] == clean["git_commit"] for one in found)
    assert len({one["git_diff"] for one in found}) == 2 and len(found[0]["git_diff"]) == 64


def test_new_files_of_the_package_are_a_change_of_the_code(monkeypatch, tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", *words], cwd=tmp_path, check=True)

    monkeypatch.setattr("lt_bench.record.folder.__file__", str(tmp_path / "lt_bench" / "record" / "folder.py"))
    places = [tmp_path / name for name in ("lt_bench/methods/mine.py", "conf/method/mine.yaml")]
    for place in places:
        place.parent.mkdir(parents=True)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "x")
    found = []
    for place, text in ((places[0].with_suffix(".py~"), "0"), *((place, text) for place in places for text in "12")):
        place.write_text(text)
        _checkout.cache_clear()
        found.append(code_version())
    assert [one["git_dirty"] for one in found] == [False, True, True, True, True]
    assert len({one["git_diff"] for one in found}) == 5


def test_status_says_who_and_when(config):
    with RunFolder(config, "an_id") as folder:
        folder.status("failed", error="because")
        status = json.loads((folder.path / "status.json").read_text())
    assert status["state"] == "failed" and status["error"] == "because" and status["pid"] == os.getpid()
    assert {"host", "time"} <= set(status)


def test_what_made_a_record_stays_beside_it(config):
    with RunFolder(config, "an_id") as folder:
        write_json(folder.path / "environment.json", {"python": "of then"})
        write_json(folder.path / "record.json", sample(run_id="an_id").to_dict())
        before = (folder.path / "config.yaml").read_text()
    config.seed = 5
    with RunFolder(config, "an_id") as folder:
        assert (folder.path / "config.yaml").read_text() == before
        assert json.loads((folder.path / "environment.json").read_text()) == {"python": "of then"}


def test_only_rank_0_writes(config):
    with RunFolder(config, "an_id", writes=False) as folder:
        folder.status("running")
    assert not folder.path.exists()


def test_it_can_be_entered_again_also_after_an_error(config):
    with pytest.raises(ZeroDivisionError), RunFolder(config, "an_id"):
        raise ZeroDivisionError
    with RunFolder(config, "an_id") as folder:
        assert folder.path.is_dir()


def test_a_second_process_is_refused(config, held):
    with pytest.raises(UsageError, match=r"another process is working on run .*status.json.*output_dir=DIR"):
        RunFolder(config, run_id(config)).__enter__()
    state = json.loads((RunFolder(config, run_id(config)).path / "status.json").read_text())
    assert (state["state"], state["pid"]) == ("running", held.pid)
    with RunFolder(config, "another_id") as folder:
        assert folder.path.is_dir()


def test_the_lock_of_a_killed_process_is_free(config, held):
    held.kill()
    held.wait()
    with RunFolder(config, run_id(config)) as folder:
        assert folder.path.is_dir()


def test_what_killed_writers_left_is_deleted_when_a_run_begins(config):
    with RunFolder(config, "an_id") as folder:
        left = folder.path / ".checkpoint.pt.0123abcd.tmp"
        left.write_bytes(b"half")
    with RunFolder(config, "an_id"), atomic_writer(folder.path / "log") as file:
        file.write(b"text")
        assert not left.exists() and len(list(folder.path.glob(".*.tmp"))) == 1


def test_a_dead_machines_lock_is_taken_over_and_its_process_writes_no_status_any_more(config, monkeypatch, capsys):
    clock = Clock()
    clock.of_new_process(monkeypatch)
    with RunFolder(config, "an_id") as dead:
        dead.status("running")
        name = {**json.loads((dead.path / "lock").read_text()), "host": "elsewhere"}
        (dead.path / "lock").write_text(json.dumps(name))
        with RunFolder(config, "an_id") as folder:
            assert clock.now >= STILL_S and "taken over" in capsys.readouterr().err
            folder.status("running", by="the second")
            dead.status("interrupted")  # it was not dead after all
            assert json.loads((dead.path / "status.json").read_text())["by"] == "the second"


def test_waiting_for_the_other_process(config, held):
    def say(identity):
        said.append(identity)
        held.communicate("")

    said = []
    with RunFolder(config, run_id(config), wait=say):
        assert said == [run_id(config)]


def test_a_second_command_on_one_run_is_refused(config, held, capsys):
    assert main(["progress=false", f"output_dir={config.output_dir}"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"lt_bench: another process is working on run {run_id(config)}")
    assert len(output.err.splitlines()) == 1 and output.out == ""


@pytest.mark.parametrize("name", ["file", "file/below", "file/below/further"])
def test_a_folder_that_cannot_be_written(name, tmp_path):
    (tmp_path / "file").write_text("")
    config = validate(compose([f"output_dir={tmp_path / name}"]))
    with pytest.raises(
        UsageError, match=r"cannot write into .*an_id \(.+\); choose another folder with output_dir=DIR"
    ):
        RunFolder(config, "an_id").__enter__()


def test_a_full_disk_frees_the_lock(config, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lt_bench.record.folder.write_json", full)
        with pytest.raises(UsageError, match="No space left on device"):
            RunFolder(config, "an_id").__enter__()
    with RunFolder(config, "an_id") as folder:
        assert (folder.path / "config.yaml").exists()


def test_finished_is_a_valid_record_of_that_run(tmp_path):
    folder = tmp_path / "an_id"
    assert finished(str(tmp_path), "an_id") is None
    write_json(folder / "record.json", sample(run_id="another_id").to_dict())
    assert finished(str(tmp_path), "an_id") is None
    (folder / "record.json").write_text('{"schema": 1')
    assert finished(str(tmp_path), "an_id") is None
    record = sample(run_id="an_id")
    write_json(folder / "record.json", record.to_dict())
    assert finished(str(tmp_path), "an_id") == (record, folder)


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_json(tmp_path / "runs" / "an_id" / "record.json", sample(run_id="an_id").to_dict())
    assert finished("~/runs", "an_id") is not None
    config = validate(compose(["output_dir='~/runs'"]))
    assert RunFolder(config, "an_id").path == tmp_path / "runs" / "an_id"


def test_a_folder_needs_no_torch(config, tmp_path):
    environment_ = without_torch(tmp_path)
    command = [sys.executable, "-c", HOLD, "an_id", f"output_dir={config.output_dir}"]
    done = subprocess.run(command, env=environment_, input="", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
