"""What is frozen at submission is what is run; later changes are recorded and warned about."""

import io
import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.chain import TINY
from helpers.command_line import wait_for
from helpers.two_processes import on_two
from hydra.utils import get_object

from lt_bench.config.compose import compose
from lt_bench.engine.distributed import barrier
from lt_bench.errors import UsageError
from lt_bench.files import write_json
from lt_bench.launch import job
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze, label, read_json, thaw
from lt_bench.models.weight_files import PICKLE
from lt_bench.preflight.validate import validate
from lt_bench.record.folder import RunFolder, code_version
from lt_bench.record.identity import stage_one_id
from lt_bench.record.record import read_record


class OnWaiting(io.StringIO):
    """A stream that forwards its text, and calls ``then`` at the line that another process is waited for."""

    def __init__(self, stream, then):
        super().__init__()
        self.stream, self.then = stream, then

    def write(self, text):
        if "waiting for another process" in text:
            self.then()
        return self.stream.write(text)


def frozen(tmp_path, *overrides, only_stage_one=False, code=None):
    (run,) = plan([*TINY, f"output_dir={tmp_path}", *overrides])
    submission = Submission(run.config, only_stage_one, code or code_version(), run.overrides)
    return run, freeze(submission, run.stage_one if only_stage_one else run.identity)


@pytest.mark.parametrize(
    "overrides", [[], ["method=paco", "dataset=cifar100_lt", "fidelity=official"], ["stage_two=ncm"]]
)
def test_what_is_read_is_what_was_written(overrides, tmp_path):
    run, folder = frozen(tmp_path, *overrides)
    again = thaw(folder)
    assert folder == tmp_path / run.identity and again.overrides == run.overrides and not again.only_stage_one
    assert again.config.train == run.config.train and again.config.method == run.config.method
    assert again.config.stage_two == run.config.stage_two and again.config.budget == run.config.budget
    assert again.code == code_version()


def test_a_submission_with_the_older_name_of_its_overrides_is_read(tmp_path):
    run, folder = frozen(tmp_path)
    values = read_json(folder / "submission.json")
    values["words"] = values.pop("overrides")
    write_json(folder / "submission.json", values)
    assert thaw(folder).overrides == run.overrides


def test_paths_do_not_depend_on_where_the_job_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run,) = plan(["output_dir=here", "data_dir=there", "dataset.root=elsewhere"])
    config = thaw(freeze(Submission(run.config, False, {}, run.overrides), run.identity)).config
    assert (config.output_dir, config.data_dir) == (str(tmp_path / "here"), str(tmp_path / "there"))
    assert config.dataset.root == str(tmp_path / "elsewhere")


def test_lists_copies_and_weights_do_not_depend_on_it_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(PICKLE)  # as weights begin
    overrides = ["dataset=imagenet_lt", "dataset.list_dir=lists", "dataset.packed=copy", "output_dir=here"]
    for weights, expected in (("weights.pth", str(tmp_path / "weights.pth")), ("torchvision", "torchvision")):
        (run,) = plan([*overrides, "backbone=resnet50", f"backbone.pretrained={weights}"])
        folder = freeze(Submission(run.config, False, {}, run.overrides), run.identity)
        monkeypatch.chdir("/")
        config = thaw(folder).config  # refuses another identity
        monkeypatch.chdir(tmp_path)
        assert (config.dataset.list_dir, config.dataset.packed) == (str(tmp_path / "lists"), str(tmp_path / "copy"))
        assert config.backbone["pretrained"] == expected and config.dataset.split_dir is None


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of conf/ to edit, which is what the front end reads; its caches are cleared."""
    copy = Path(shutil.copytree(str(files("lt_bench.conf")), tmp_path / "conf"))
    for name in ("config.compose", "config.conf"):
        monkeypatch.setattr(f"lt_bench.{name}.files", lambda package: copy)
    for cached in ("lt_bench.config.compose.groups", "lt_bench.record.identity._group_rule_in_file"):
        monkeypatch.setattr(cached, get_object(cached).__wrapped__)
    return copy


@pytest.mark.parametrize("only_stage_one", [True, False])
def test_edits_of_the_files_that_a_run_was_composed_of_change_nothing(only_stage_one, tmp_path, conf):
    overrides = ["method=sbcl", "fidelity=official", "stage_two=cb", "budget=smoke", "dataset.group_rule=count_100_20"]
    (run,) = plan([*overrides, "progress=false", f"output_dir={tmp_path / 'runs'}"])
    submission = Submission(run.config, only_stage_one, code_version(), run.overrides)
    folder = freeze(submission, run.stage_one if only_stage_one else run.identity)
    before = thaw(folder)
    (conf / "budget" / "smoke.yaml").write_text("budget: {name: smoke, epoch_scale: 1.0}")
    (conf / "dataset" / "digits_lt.yaml").write_text("dataset: {name: digits_lt}")
    (conf / "stage_two" / "cb.yaml").write_text("name: cb")
    (conf / "quirks" / "sbcl_official.yaml").unlink()
    with pytest.raises(UsageError, match="stage_two=cb trains nothing"):  # the overrides are refused by now
        validate(compose(run.overrides))
    assert stage_one_id(run.config) != run.stage_one  # they mean another stage one by now
    assert thaw(folder) == before and job.main(folder) == 0
    record, stage_one = (read_record(tmp_path / "runs" / name / "record.json") for name in (folder.name, run.stage_one))
    assert (record.run_id, record.budget, stage_one.run_id) == (folder.name, "smoke", run.stage_one)


def test_later_edits_of_conf_change_nothing(tmp_path, monkeypatch, capsys):
    run, folder = frozen(tmp_path, "method=ce", "stage_two=none", "train.lr=0.07")
    monkeypatch.setattr("lt_bench.config.compose.merged", None)  # nothing is composed again
    assert job.main(folder) == 0
    record = read_record(folder / "record.json")
    assert record.settings["train.lr"] == 0.07 and record.run_id == run.identity
    assert record.environment["submitted_code"] == code_version() and not record.environment["code_changed"]
    assert "warning" not in capsys.readouterr().err


def test_changed_code_is_recorded_and_warned_about(tmp_path, capsys):
    code = {**code_version(), "git_commit": "0" * 40, "git_diff": "1" * 64}
    _, folder = frozen(tmp_path, "method=ce", "stage_two=cb", code=code)
    assert job.main(folder) == 0
    said = capsys.readouterr().err
    assert f"warning: git_commit was {'0' * 40} at submission and is {code_version()['git_commit']}" in said
    for path in tmp_path.glob("*/record.json"):  # of both stages
        environment = read_record(path).environment
        assert environment["submitted_code"] == code and environment["code_changed"] is True
        assert environment["git_commit"] == code_version()["git_commit"]


def test_a_stage_one_by_itself(tmp_path):
    run, folder = frozen(tmp_path, "method=ce", only_stage_one=True)
    assert folder == run.stage_one_folder and job.main(folder) == 0
    assert read_record(folder / "record.json").kind == "stage_one" and not run.folder.exists()


@pytest.mark.parametrize("only_stage_one", [True, False])
def test_a_run_of_another_process_is_waited_for(only_stage_one, tmp_path, monkeypatch, capsys):
    _, folder = frozen(tmp_path, "method=ce", "stage_two=none", only_stage_one=only_stage_one)
    with FileLock(folder / "lock") as lock:
        monkeypatch.setattr("sys.stderr", OnWaiting(sys.stderr, lock.release))
        assert job.main(folder) == 0
    said = capsys.readouterr()
    assert said.err == f"lt_bench: waiting for another process that is working on run {folder.name}\n"
    assert "CE on digits_lt" in said.out and (folder / "record.json").exists()


def done_by_another(processes, tmp_path):
    """Rank by rank: carry out a run; then again, with another process at work on it, which ends it when waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        patch.setenv("RANK", str(processes.rank))
        _, folder = frozen(tmp_path, "method=ce", "stage_two=none") if processes.rank == 0 else (None, None)
        barrier()
        (folder,) = (path.parent for path in tmp_path.glob("*/submission.json"))
        first = job.main(folder)
        if processes.rank == 0:
            lock, record = FileLock(folder / "lock"), folder / "record.json"
            lock.acquire()
            shutil.move(record, tmp_path / "record.json")

            def ended():
                wait_for((tmp_path / "entered").exists)  # the other rank has not found it done
                shutil.move(tmp_path / "record.json", record)
                lock.release()

            patch.setattr("sys.stderr", OnWaiting(sys.stderr, ended))
        else:
            patch.setattr(RunFolder, "__enter__", lambda folder: (tmp_path / "entered").touch() or folder)
        barrier()
        return first, job.main(folder)


@pytest.mark.slow
def test_a_run_that_another_process_ends_meanwhile_is_found_done_by_all_ranks():
    assert on_two(done_by_another) == [(0, 0)] * 2


def test_code_that_reads_a_submission_otherwise_is_refused(tmp_path, capsys):
    _, folder = frozen(tmp_path)
    other = folder.with_name("0" * 12)
    shutil.move(folder, other)
    with pytest.raises(UsageError, match="submit the sweep again"):
        thaw(other)
    values = read_json(other / "submission.json")
    values["config"]["method"]["temprature"] = 1.0
    (other / "submission.json").write_text(json.dumps(values))
    assert job.main(other) == 2 and "unknown key method.temprature" in capsys.readouterr().err


def test_a_folder_without_a_submission_is_refused(tmp_path, capsys):
    assert job.main(tmp_path) == 2
    assert "holds no submission.json that can be read: submit the sweep again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        *({"config": config} for config in ({"launch": {"queue": "x"}}, {"seed": "x"}, "{", [1], 3)),
        {"overrides": None},
    ],
)
def test_a_submission_of_another_version_is_refused(change, tmp_path):
    _, folder = frozen(tmp_path)
    values = {**read_json(folder / "submission.json"), **change}
    values = {key: value for key, value in values.items() if value is not None}
    (folder / "submission.json").write_text(json.dumps(values))
    with pytest.raises(UsageError, match="is of another version .*; submit the sweep again"):
        thaw(folder)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["launch=slurm_packed", "launch.runs_per_gpu=4", "launch.cpus_per_task=14"], 3),
        (["launch=slurm_packed", "launch.runs_per_gpu=4", "launch.cpus_per_task=2"], 1),
        (["launch=slurm", "launch.gpus_per_node=4", "launch.cpus_per_task=12"], 12),  # each task has twelve of its own
        (["launch.parallel_runs=3"], 2),
        (["launch.parallel_runs=16"], 1),
        (["launch=slurm_packed", "dataset.workers=0"], 0),
    ],
)
def test_processes_that_read_images_share_the_cores(overrides, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.machine.usable_cores", lambda: 8)
    run, folder = frozen(tmp_path, *overrides)
    assert thaw(folder).config.dataset.workers == expected and folder == run.folder


def test_an_earlier_attempt_leaves_no_traces(tmp_path):
    _, folder = frozen(tmp_path)
    for name in ("job.json", "heartbeat", "trace.txt"):
        (folder / name).touch()
    (folder / "status.json").write_text('{"state": "failed"}')
    frozen(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["status.json", "submission.json"]
    assert read_json(folder / "status.json")["state"] == "submitted"


def test_what_is_no_object_is_empty(tmp_path):
    for text in ("[1]", "{", ""):
        (tmp_path / "file").write_text(text)
        assert read_json(tmp_path / "file") == {}
    assert read_json(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=3"], "SBCL / CB, digits_lt IF 20, seed 3"),
        (
            ["dataset=cifar10_lt", "imbalance=native", "split_seed=2"],
            "SBCL / CB, cifar10_lt native, seed 0, split seed 2",
        ),
    ],
)
def test_a_label_says_what_a_run_is(overrides, said, tmp_path):
    _, folder = frozen(tmp_path, *overrides)
    assert label(read_json(folder / "submission.json")["config"]) == said


def test_the_job_imports_no_torch_for_what_is_done(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lt_bench.launch.job import main; "
        f"status = main(Path({str(tmp_path)!r})); sys.exit(status + 10 * ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 2
