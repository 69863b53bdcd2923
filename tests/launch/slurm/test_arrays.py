"""What is submitted to SLURM: scripts, arrays, tasks; with stand-ins for its commands."""

import json
import os
import pickle
import re
import shlex
from pathlib import Path

import pytest
from helpers.clocks import Clock

from lt_bench.config.schema import Launch
from lt_bench.errors import UsageError
from lt_bench.files import write_json
from lt_bench.launch.__main__ import main
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.slurm.arrays import sbatch_parameters
from lt_bench.launch.states import QUEUED, TO_DO, run_folders, states
from lt_bench.launch.submission import Submission, freeze, read_json
from lt_bench.launch.sweep import run_sweep

SBATCH = """#!/bin/sh
n=$(($(cat {folder}/number 2>/dev/null || echo 100) + 1)); echo $n >{folder}/number
cp "$1" {folder}/script.$n; env >{folder}/environment.$n
echo Submitted batch job $n
"""

# a running job on a node that SLURM does not hear of
DEAD_NODE = """#!/bin/sh
case "$*" in *--nodelist=node7*) echo 101_0;; *) echo '101_0|RUNNING|5:00|None\n101_1|PENDING|0:00|Priority';; esac
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for the commands: an sbatch that numbers jobs from 101, an empty queue, arrays of at most three."""
    commands = tmp_path / "commands"
    commands.mkdir()
    texts = {"sbatch": SBATCH.format(folder=commands), "scontrol": "#!/bin/sh\necho MaxArraySize = 3\n"}
    for name in ("sbatch", "scontrol", "srun", "squeue", "sacct", "scancel", "sinfo"):
        (commands / name).write_text(texts.get(name, f'#!/bin/sh\necho "$@" >>{commands}/{name}.calls\n'))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return commands


def script(slurm, number):
    """The options of a script and the command that it ends with."""
    lines = (slurm / f"script.{number}").read_text().splitlines()
    options = [shlex.split(line.removeprefix("#SBATCH "))[0] for line in lines if line.startswith("#SBATCH ")]
    return dict(option.removeprefix("--").partition("=")[::2] for option in options), lines


def submit(tmp_path, *overrides):
    return run_sweep(["launch=slurm", "method=ce", "stage_two=none", f"output_dir={tmp_path / 'runs'}", *overrides])


def tasks(folder):
    """The runs of every task of the arrays, in order."""
    found = {}
    for path in sorted(folder.glob("launch/*/*_submitted.pkl"), key=lambda path: path.name):
        task = pickle.loads(path.read_bytes()).function
        found[path.name.removesuffix("_submitted.pkl")] = [(job.folder.name, job.after) for job in task.jobs]
    return found


def test_a_request_in_full(slurm, tmp_path):
    overrides = ["partition=gpu", "account=lab", "qos=high", "constraint='a100&nvlink'", "mem_gb=1.5", "time_min=90"]
    overrides += ["gpus_per_node=8", "nodes=2", "cpus_per_task=12", "signal_delay_s=200", "array_parallelism=2"]
    overrides += ['sbatch=["--exclude=node7,node8","--exclusive"]', "setup=['module load cuda','echo $HOME']"]
    assert submit(tmp_path, "seed=1,2", *(f"launch.{override}" for override in overrides)) == 0
    options, lines = script(slurm, 101)
    expected = {
        "partition": "gpu", "account": "lab", "qos": "high", "constraint": "a100&nvlink", "mem": "1536M", "time": "90",
        "gpus-per-node": "8", "nodes": "2", "ntasks-per-node": "8", "cpus-per-task": "12", "signal": "USR2@200",
        "array": "0-1%2", "exclude": "node7,node8", "exclusive": "", "requeue": "", "job-name": "lt_bench",
    }  # fmt: skip
    assert expected.items() <= options.items() and options.keys() - expected.keys() == {"open-mode", "output"}
    assert lines.index("module load cuda") + 1 == lines.index("echo $HOME") < len(lines) - 2
    command = shlex.split(lines[-1])
    assert command[0] == "srun" and {"--cpus-per-task=12", "--kill-on-bad-exit=1"} <= set(command)


def test_what_is_not_set_is_not_requested():
    assert sbatch_parameters(Launch(executor="slurm", gpus_per_node=0)) == {
        "job_name": "lt_bench", "time": 1440, "nodes": 1, "ntasks_per_node": 1, "cpus_per_task": 4,
        "array_parallelism": 256, "signal_delay_s": 120, "additional_parameters": {"requeue": True},
        "srun_args": ["--cpus-per-task=4"], "stderr_to_stdout": True, "wckey": None,
    }  # fmt: skip


@pytest.mark.parametrize(("seeds", "jobs"), [("seed=1", ["101"]), ("seed=1,2", ["101_0", "101_1"])])
def test_what_a_job_printed_before_any_run_started_is_shown(seeds, jobs, slurm, tmp_path, capsys):
    submit(tmp_path, seeds, "launch.setup=['module load nothing']")
    (slurm / "sacct").write_text("#!/bin/sh\n" + "\n".join(f"echo '{job}|FAILED'" for job in jobs))
    output = script(slurm, 101)[0]["output"]
    for job in jobs:  # as SLURM names it
        array, _, task = job.partition("_")
        path = output.replace("%j", job).replace("%A", array).replace("%a", task)
        Path(path).write_text(f"module: not found in {job}\n")
    runs = ["--runs", str(tmp_path / "runs")]
    assert main(["status", *runs]) == 0
    assert capsys.readouterr().out.count("exited without a status (FAILED); logs shows what the job printed") == len(
        jobs
    )
    for folder in run_folders(tmp_path / "runs"):
        job = read_json(folder / "job.json")["job"]
        assert main(["logs", folder.name, *runs]) == 0
        said = capsys.readouterr().out
        assert said.startswith("==> ") and said.endswith(f" <==\nmodule: not found in {job}\n")
        assert said.count("not found") == 1


def test_arrays_are_split_at_the_limit_of_the_cluster(slurm, tmp_path, capsys):
    submit(tmp_path, "seed=range(7)")
    assert [script(slurm, number)[0].get("array") for number in (101, 102, 103)] == ["0-2%3", "0-2%3", None]
    said = capsys.readouterr().out
    assert said.splitlines()[:3] == [
        "queued job 101: 3 runs in 3 tasks", "queued job 102: 3 runs in 3 tasks", "queued job 103: 1 run in 1 task",
    ]  # fmt: skip
    assert f"python -m lt_bench.launch status --runs {tmp_path / 'runs'} --watch" in said
    jobs = [read_json(folder / "job.json")["job"] for folder in run_folders(tmp_path / "runs")]
    assert sorted(jobs) == ["101_0", "101_1", "101_2", "102_0", "102_1", "102_2", "103"]


def test_runs_share_a_gpu(slurm, tmp_path):
    submit(tmp_path, "seed=range(5)", "launch.runs_per_gpu=2", "launch.threads_per_run=3")
    assert [len(runs) for runs in tasks(tmp_path / "runs").values()] == [2, 2, 1]
    (path, *_) = (tmp_path / "runs").glob("launch/*/101_0_submitted.pkl")
    task = pickle.loads(path.read_bytes()).function
    assert (task.parallel, task.environment) == (2, {"OMP_NUM_THREADS": "3"})


def test_a_shared_stage_one_is_in_the_job_of_its_runs(slurm, tmp_path):
    submit(tmp_path, "stage_two=none,cb,ncm", "train.lr=0.1,0.2")
    found = tasks(tmp_path / "runs")
    assert len(found) == 2
    for runs in found.values():
        (stage_one, nothing), *others = runs
        assert nothing is None and len(others) == 3 and {after.name for _, after in others} == {stage_one}


def test_a_stage_one_in_another_job_is_waited_for(slurm, tmp_path):
    overrides = ["stage_two=none,cb", "seed=1"]
    submit(tmp_path, *overrides)
    (slurm / "squeue").write_text("#!/bin/sh\necho '101|RUNNING|5:00|None'\n")
    submit(tmp_path, "stage_two=none,cb,ncm,tau_norm", "seed=1")
    assert script(slurm, 102)[0]["dependency"] == "afterany:101"
    assert [len(runs) for runs in tasks(tmp_path / "runs").values()] == [3, 1, 1]  # two new runs, each by itself


def test_a_stage_one_within_another_run_is_waited_for_as_long_as_that_run_is_running_or_queued(slurm, tmp_path):
    submit(tmp_path, "stage_two=cb", "launch=slurm_two_nodes")
    ((first, _),) = tasks(tmp_path / "runs")["101"]
    (run,) = plan(["method=ce", "stage_two=lws", f"output_dir={tmp_path}/runs"])
    assert run_folders(tmp_path / "runs") == [run.folder.with_name(first)]
    for job in ("PENDING|0:00|Priority", "RUNNING|5:00|None"):
        (slurm / "squeue").write_text(f"#!/bin/sh\necho '101|{job}'\n")
        found = states([run.stage_one_folder, run.folder])
        assert found == {run.stage_one_folder: (QUEUED, found[run.stage_one_folder].detail, "101", False),
                         run.folder: (TO_DO, "", None, False)}  # fmt: skip
    submit(tmp_path, "stage_two=lws")
    assert script(slurm, 102)[0]["dependency"] == "afterany:101" and tasks(tmp_path / "runs")["102"][0][1] is None
    # the first one fails, and the job goes on with others: nothing trains the stage one, until a retry does
    write_json(run.folder.with_name(first) / "status.json", {"state": "failed"})
    assert states([run.stage_one_folder])[run.stage_one_folder].name == TO_DO
    submit(tmp_path, "stage_two=cb")
    assert "dependency" not in script(slurm, 103)[0]
    (slurm / "squeue").write_text("#!/bin/sh\necho '103|RUNNING|5:00|None'\n")
    assert states([run.stage_one_folder])[run.stage_one_folder].job == "103"


def test_a_stage_one_that_becomes_a_job_of_its_own_is_not_part_of_a_run_any_more(slurm, tmp_path):
    submit(tmp_path, "stage_two=cb")
    (run,) = plan(["method=ce", "stage_two=cb", f"output_dir={tmp_path}/runs"])
    assert read_json(run.stage_one_folder / "job.json") == {"run": run.identity}
    submit(tmp_path, "stage_two=cb,lws")  # the queue is empty: the first job is lost
    assert read_json(run.stage_one_folder / "job.json")["job"] == "102"


def test_a_stage_one_that_is_done_or_running_elsewhere_is_left_as_it_is(slurm, tmp_path, monkeypatch):
    (run,) = plan(["method=ce", "stage_two=cb", f"output_dir={tmp_path}/runs"])
    write_json(run.stage_one_folder / "status.json", {"state": "running", "host": "elsewhere", "pid": 1})
    submit(tmp_path, "stage_two=cb")
    monkeypatch.setattr("lt_bench.launch.states.finished", lambda _, name: name == run.stage_one)
    submit(tmp_path, "stage_two=cb")
    assert (slurm / "script.102").exists() and not (run.stage_one_folder / "job.json").exists()


def test_one_array_per_request(slurm, tmp_path):
    submit(tmp_path, "sweep=[{train.lr:'0.1,0.2',launch.mem_gb:8},{train.lr:0.3,launch.mem_gb:16}]")
    found = {script(slurm, number)[0]["mem"]: script(slurm, number)[0].get("array") for number in (101, 102)}
    assert found == {"8192M": "0-1%2", "16384M": None}


def test_runs_of_one_stage_one_but_of_different_requests_are_not_in_one_job(slurm, tmp_path):
    grids = "{stage_two:'none,cb',launch.mem_gb:8},{stage_two:'ncm,tau_norm',launch.mem_gb:16}"
    run_sweep(["launch=slurm", "method=ce", f"output_dir={tmp_path / 'runs'}", f"sweep=[{grids}]"])
    found = {script(slurm, number)[0]["mem"] for number in (101, 102)}
    assert found == {"8192M", "16384M"} and [len(runs) for runs in tasks(tmp_path / "runs").values()] == [3, 3]


def test_every_run_goes_where_its_own_settings_say(slurm, tmp_path, monkeypatch):
    here = []
    monkeypatch.setattr("lt_bench.launch.sweep._run_here", lambda jobs: here.extend(jobs) or 0)
    places = [("slurm", "runs"), ("local", "runs"), ("local", "other")]
    grids = [f"{{launch:{where},seed:{n},output_dir:{tmp_path / name}}}" for n, (where, name) in enumerate(places, 1)]
    assert run_sweep(["method=ce", f"sweep=[{','.join(grids)}]"]) == 0
    assert [group.runs[0].config.seed for group, _ in here] == [2, 3] and len(tasks(tmp_path / "runs")) == 1
    assert [job.folder.parent.name for _, (job,) in here] == ["runs", "other"]


def test_retry_takes_each_run_to_where_it_failed(slurm, tmp_path, monkeypatch):
    here = []
    monkeypatch.setattr("lt_bench.launch.sweep._run_here", lambda jobs: here.extend(jobs) or 0)
    for overrides in (["launch=local", "seed=1"], ["launch=slurm", "seed=2"]):
        (run,) = plan(["method=ce", f"output_dir={tmp_path}", *overrides])
        freeze(Submission(run.config, False, {}, run.overrides), run.identity)
        write_json(run.folder / "status.json", {"state": "failed"})
    assert main(["retry", "--runs", str(tmp_path)]) == 0
    assert [group.runs[0].config.seed for group, _ in here] == [1]
    assert list(tasks(tmp_path).values()) == [[(run.identity, None)]]


def test_what_is_in_the_queue_is_not_queued_again_and_a_lost_job_is_cancelled(slurm, tmp_path, capsys, monkeypatch):
    submit(tmp_path, "seed=1,2")
    (slurm / "squeue").write_text("#!/bin/sh\necho '101_0|RUNNING|5:00|None\n101_1|PENDING|0:00|Priority'\n")
    capsys.readouterr()
    submit(tmp_path, "seed=1,2")
    assert not (slurm / "script.102").exists() and "runs: 2, done: 0, queued: 2" in capsys.readouterr().err
    (first, _) = (
        run.folder for run in plan(["method=ce", "stage_two=none", "seed=1,2", f"output_dir={tmp_path}/runs"])
    )
    (first / "heartbeat").touch()
    os.utime(first / "heartbeat", (1, 1))
    submit(tmp_path, "seed=1,2")  # its node answers SLURM, so that only the file stands still
    assert not (slurm / "scancel.calls").exists() and not (slurm / "script.102").exists()
    (slurm / "sinfo").write_text('#!/bin/sh\ncase "$*" in *--dead*) echo node7;; esac\n')
    (slurm / "squeue").write_text(DEAD_NODE)
    Clock().of_new_process(monkeypatch)
    submit(tmp_path, "seed=1,2")
    assert (slurm / "scancel.calls").read_text() == "101_0\n"
    assert "array" not in script(slurm, 102)[0] and json.loads((first / "job.json").read_text())["job"] == "102"


def test_inside_a_job_its_environment_is_not_passed_on(slurm, tmp_path, monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SBATCH_PARTITION", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/somewhere")  # names the cluster
    submit(tmp_path)
    given = (slurm / "environment.101").read_text().splitlines()
    assert "SLURM_CONF=/etc/somewhere" in given
    assert not [line for line in given if re.match("(SLURM_(?!CONF)|SBATCH_|RANK|WORLD_SIZE)", line)]
    assert os.environ["SLURM_JOB_ID"] == "1"


def test_a_value_cannot_leave_its_line(slurm, tmp_path):
    submit(tmp_path, "launch.constraint='a; touch b $(touch c)'")
    options, lines = script(slurm, 101)
    assert options["constraint"] == "a; touch b $(touch c)"
    assert [line for line in lines if "touch" in line] == ["#SBATCH --constraint='a; touch b $(touch c)'"]


def test_without_slurm_or_when_it_refuses(slurm, tmp_path, monkeypatch, capfd):
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no such\npartition' >&2; exit 1\n")
    with pytest.raises(UsageError, match="^sbatch refused: sbatch: error: no such partition$"):
        submit(tmp_path)
    assert "no such" not in capfd.readouterr().err  # printed once, by the error
    assert {path.name for path in (tmp_path / "runs" / "launch").iterdir()} == {"lock", "plan.json"}
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="there is no srun on this machine"):
        submit(tmp_path)


def test_uncommitted_changes_are_warned_about(slurm, tmp_path, monkeypatch, capsys):
    code = {"lt_bench": "1", "git_commit": "a" * 40, "git_dirty": True, "git_diff": "b" * 64}
    monkeypatch.setattr("lt_bench.launch.sweep.code_version", lambda: code)
    submit(tmp_path)
    assert "warning: tracked files differ from the commit" in capsys.readouterr().err
    (submission,) = (tmp_path / "runs").glob("*/submission.json")
    assert json.loads(submission.read_text())["code"] == code


def test_what_has_failed_is_queued_again_and_what_is_done_is_not(slurm, tmp_path, monkeypatch):
    runs = plan(["method=ce", "stage_two=none", "seed=1,2", f"output_dir={tmp_path}/runs"])
    write_json(runs[0].folder / "status.json", {"state": "failed"})
    monkeypatch.setattr("lt_bench.launch.states.finished", lambda _, name: name == runs[1].identity)
    submit(tmp_path, "seed=1,2")
    assert list(tasks(tmp_path / "runs").values()) == [[(runs[0].identity, None)]]
