"""Runs forked from one process that has imported PyTorch: equal to fresh ones, apart from each other, none left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.command_line import wait_for

from lt_bench.evaluation.predictions import load_predictions
from lt_bench.launch.local.fork_server import ForkServer
from lt_bench.launch.local.process_pool import Job, ProcessPool
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze
from lt_bench.record.folder import code_version
from lt_bench.record.record import read_record

WORDS = ("budget=smoke", "progress=false", "budget.max_steps_per_epoch=3")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow


def frozen(output_dir, *words):
    """Jobs of a sweep whose runs are written into their folders."""
    runs = plan([*WORDS, *words, f"output_dir={output_dir}"])
    code = code_version()
    return [Job(freeze(Submission(run.config, False, code, run.overrides), run.identity)) for run in runs]


def results(folder):
    record = read_record(folder / "record.json")
    state = torch.load(folder.with_name(record.stage_one_id) / "checkpoint.pt", weights_only=True)["model"]
    logits = load_predictions(folder / "predictions.npz").logits
    return record, {name: value.numpy() for name, value in state.items()}, logits


def test_forked_runs_equal_fresh_ones_bit_for_bit(tmp_path):
    words = ("method=ce,sbcl", "seed=0,1")
    folders = []
    for fork in (True, False):
        jobs, ended = frozen(tmp_path / str(fork), *words), []
        pool = ProcessPool(jobs, 2, ENVIRONMENT, lambda job, status, what, ended=ended: ended.append(status), fork=fork)
        pool.work()
        assert ended == [0] * 4
        folders.append(sorted(job.folder for job in jobs))
    for forked, fresh in zip(*folders, strict=True):
        (record, weights, logits), (other, others, expected) = results(forked), results(fresh)
        assert record == other and record.environment["threads"] == other.environment["threads"] == 1
        assert weights.keys() == others.keys()
        assert all(np.array_equal(weights[name], others[name]) for name in weights)
        np.testing.assert_array_equal(logits, expected)


PREPARED = """
import os, sys
from pathlib import Path
from lt_bench.launch.local import fork_server
from lt_bench.record import folder as run_folder

def no_git(*words):
    raise AssertionError("the version of the code was asked for again")

folders = list(map(Path, sys.argv[1:]))
fork_server.import_what_every_run_needs()
for folder in folders:
    fork_server.import_parts(folder)
import torch
assert not torch.cuda.is_initialized() and len(os.listdir("/proc/self/task")) == 1 and "mine" not in sys.modules
imported, run_folder._git = set(sys.modules), no_git
from lt_bench.launch import job
assert [job.main(folder, ["mine"]) for folder in folders] == [0] * len(folders)
print("found", *sorted(set(sys.modules) - imported))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_fork_finds_everything_imported_but_a_users_own_class(tmp_path, monkeypatch):
    """The server itself has one thread and no CUDA, and runs no code of a user's."""
    own = "from lt_bench.methods.ce import CE\n\nclass Mine(CE):\n    pass\n"
    (tmp_path / "mine.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    runs = tmp_path / "runs"
    jobs = frozen(runs, "method=ce,sbcl") + frozen(runs, "method=ce", "method._target_=mine.Mine", "trust=[mine]")
    words = [sys.executable, "-c", PREPARED, *(str(job.folder) for job in jobs)]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()[-1].split()
    ours = ("lt_bench.", "torch", "numpy", "scipy", "mine")
    assert [name for name in found if name.startswith(ours) and name != "lt_bench.conf"] == ["mine"]


@pytest.fixture
def server():
    server = ForkServer(ENVIRONMENT, Path("runs"))
    yield server
    server.close()


def test_a_crash_costs_one_run_and_a_kill_too(server, tmp_path):
    good, other = frozen(tmp_path, "method=ce", "seed=0,1")
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    processes = [server.start(folder, folder / "log.txt") for folder in (good.folder, wrong, other.folder)]
    wait_for(lambda: all(process.poll() is None and process.pid for process in processes[2:]))
    processes[2].kill()
    assert [process.wait() for process in processes] == [0, 2, -signal.SIGKILL]
    assert "holds no submission.json" in (wrong / "log.txt").read_text()
    assert (good.folder / "record.json").exists() and not (other.folder / "record.json").exists()
    again = server.start(other.folder, other.folder / "log.txt")
    assert again.wait() == 0 and again.poll() == 0


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint(server, tmp_path):
    (job,) = frozen(tmp_path, "method=ce", "budget.max_steps_per_epoch=null", "train.epochs=100000")
    process = server.start(job.folder, job.folder / "log.txt")
    server.wait(600)  # which ends with the first news
    assert process.poll() is None and process.pid
    wait_for(lambda: list(tmp_path.glob("*/metrics.jsonl")))
    process.terminate()
    assert process.wait() == 130 and list(tmp_path.glob("*/checkpoint.pt"))


def test_runs_are_asked_to_stop_when_the_server_is_killed_and_fresh_ones_take_over(tmp_path):
    jobs = frozen(tmp_path, "method=ce", "seed=0,1")
    pool, ended = ProcessPool(jobs, 1, ENVIRONMENT, fork=True), []
    pool.ended = lambda job, status, message: ended.append(status) or pool._server.popen.kill()
    pool.work()
    assert ended == [0, 0] and not pool.fork


def test_without_its_server_a_run_gets_a_new_process(tmp_path):
    """Also where the server is lost while it still imports, and nothing waits for it."""
    jobs = frozen(tmp_path, "method=ce", "seed=0,1")
    pool, ended = ProcessPool(jobs, 2, ENVIRONMENT, fork=True), []
    pool.ended = lambda job, status, message: ended.append(status)
    pool._start()
    assert [process.popen.pid for process in pool.running] == [None, None] and pool._server.popen.poll() is None
    pool._server.popen.kill()
    pool.work()
    assert ended == [0, 0] and not pool.fork


def test_runs_whose_server_is_killed_go_on_in_new_processes(tmp_path):
    """What is left of them is asked to stop, and holds their locks until it has saved."""
    jobs = frozen(tmp_path, "method=ce", "seed=0,1", "budget.max_steps_per_epoch=null", "train.epochs=300")
    pool, ended = ProcessPool(jobs, 2, ENVIRONMENT, fork=True), []
    pool.ended = lambda job, status, message: ended.append(status)
    pool.work(lambda: len(list(tmp_path.glob("*/metrics.jsonl"))) == 2 and pool._server.popen.kill())
    assert ended == [0, 0] and not pool.fork and not pool.failed
    assert all("stopped by SIGTERM" in (job.folder / "log.txt").read_text() for job in jobs)


def test_runs_that_are_stopped_while_the_server_imports_end_with_it(tmp_path):
    jobs = frozen(tmp_path, "method=ce", "seed=0,1,2", "train.epochs=100000")
    pool, ended = ProcessPool(jobs, 2, ENVIRONMENT, fork=True), []
    pool.ended = lambda job, status, message: ended.append(message)
    pool.work(lambda: None if pool.stopping else pool.stop())
    assert ended == ["interrupted"] * 2 and len(pool.waiting) == 1
    assert all(process is None for process in (*pool._server.asked, *pool._server.forked))


def test_a_run_that_is_stopped_before_it_has_a_process_gets_the_signal_then(server, tmp_path):
    first, second = frozen(tmp_path, "method=ce", "seed=0,1", "budget.max_steps_per_epoch=null", "train.epochs=100000")
    running = server.start(first.folder, first.folder / "log.txt")
    wait_for(lambda: running.poll() is None and running.pid)
    process = server.start(second.folder, second.folder / "log.txt")
    assert process.pid is None
    process.terminate()
    assert process.wait() in (130, -signal.SIGTERM) and process.pid and running.poll() is None
    running.kill()
    assert running.wait() == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the death of its parent")
def test_no_run_outlives_the_pool(tmp_path):
    jobs = frozen(tmp_path, "method=ce", "seed=0,1", "budget.max_steps_per_epoch=null", "train.epochs=100000")
    folders = [str(job.folder) for job in jobs]
    code = (
        "import sys, os; from pathlib import Path; from lt_bench.launch.local.process_pool import Job, ProcessPool; "
        f"ProcessPool([Job(Path(name)) for name in {folders!r}], 2, {{'OMP_NUM_THREADS': '1'}}, fork=True).work()"
    )
    pool = subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT)
    wait_for(lambda: len(list(tmp_path.glob("*/metrics.jsonl"))) == 2)
    servers = children(pool.pid)
    runs = [pid for server in servers for pid in children(server)]
    assert len(runs) == 2
    pool.kill()
    pool.wait()
    wait_for(lambda: not any(alive(pid) for pid in (*servers, *runs)))


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
