"""How far runs are: their folders say it first, then the cluster's queue and accounts."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lt_bench.record.folder import finished

from .slurm.cluster import Cluster, Queued
from .submission import HEARTBEAT, JOB, SUBMISSION, job_logs, read_json

DONE, RUNNING, QUEUED, FAILED, STOPPED, TO_DO = "done", "running", "queued", "failed", "stopped", "to do"
BUSY = (RUNNING, QUEUED)
SILENT_S = 45  # four heartbeats are missing


class State(NamedTuple):
    """A run's state, a word on it, and the cluster's job that has or had it.

    ``lost``: the job is in the queue although it gives no sign of life.
    """

    name: str
    detail: str = ""
    job: str | None = None
    lost: bool = False


def states(folders: Iterable[Path], cluster: Cluster | None = None) -> dict[Path, State]:
    """The state of every run folder; a run whose process has died without a word has failed.

    A stage one that a job of the cluster trains as a part of a run is in hand as long as that run is.
    """
    folders = list(folders)
    within = {folder: folder.with_name(run) for folder in folders if (run := read_json(folder / JOB).get("run"))}
    found = _each_by_itself(dict.fromkeys((*folders, *within.values())), cluster or Cluster())
    for folder, run in within.items():
        if found[folder].name != DONE and found[run].name in BUSY and found[run].job:
            found[folder] = found[run]
    return {folder: found[folder] for folder in folders}


def _each_by_itself(folders: Iterable[Path], cluster: Cluster) -> dict[Path, State]:
    found: dict[Path, State] = {}
    lost: dict[Path, str] = {}
    for folder in folders:
        job = read_json(folder / JOB).get("job")
        if finished(str(folder.parent), folder.name):
            found[folder] = State(DONE, job=job)
        elif job and cluster.queued is not None and job not in cluster.queued:
            found[folder] = _without_job(folder, had_one=True)._replace(job=job)
            if found[folder].name == TO_DO:
                lost[folder] = job
        elif job:
            found[folder] = _with_job(folder, (cluster.queued or {}).get(job))._replace(job=job)
        else:
            found[folder] = _without_job(folder, had_one=False)
    ended = cluster.ended(lost.values())
    for folder, job in lost.items():
        found[folder] = _after_job(ended.get(job, ""), job, has_log=bool(job_logs(folder)))
    return found


def _with_job(folder: Path, queued: Queued | None) -> State:
    """A run whose job is in the queue, or whose queue cannot be asked from here."""
    status, silence = read_json(folder / "status.json"), _silence(folder)
    if status.get("state") == "failed":
        return State(FAILED, str(status.get("error", "")))
    if queued and queued.state != "RUNNING":
        return State(QUEUED, f"{queued.state.lower()}, {queued.reason}")
    if silence is None or (queued and queued.young and silence >= SILENT_S):  # that is of the job's life before
        return State(QUEUED, "its turn comes" if queued else "the queue cannot be asked from here")
    if silence < SILENT_S:
        return _in_hand(status)
    return State(FAILED, _silent(silence), lost=queued is not None)


def _without_job(folder: Path, had_one: bool) -> State:
    """A run that no job has (any more), from its folder alone; where there was a job, only what can be told without it.

    Where the accounts have to tell, the state is "to do".
    """
    status, silence = read_json(folder / "status.json"), _silence(folder)
    state, host, pid = status.get("state"), status.get("host"), status.get("pid")
    if state == "failed":
        return State(FAILED, str(status.get("error", "")))
    here = host == socket.gethostname()
    if state == "running" and here and _alive(pid):
        return State(RUNNING)
    if had_one:
        return State(TO_DO)
    if state == "interrupted":  # whatever its last sign of life
        return State(STOPPED, "goes on where it stopped")
    if silence is not None:
        return _in_hand(status) if silence < SILENT_S else State(FAILED, _silent(silence))
    if state == "running":
        words = "its process has gone without a word", f"on {host}, as far as can be seen from here"
        return State(FAILED, words[0]) if here else State(RUNNING, words[1])
    return State(TO_DO)


def _in_hand(status: Mapping[str, object]) -> State:
    """A run that somebody has: it waits until it says that it is running."""
    waits = status.get("state") in ("submitted", "interrupted")
    return State(QUEUED, "its turn comes") if waits else State(RUNNING)


def _after_job(state: str, job: str, has_log: bool) -> State:
    """A run without record or word of failure, whose job has ended in the given state."""
    if state.startswith("CANCELLED"):
        return State(STOPPED, f"job {job} was cancelled", job)
    known = f" as {state}" if state not in ("", "RUNNING", "PENDING") else ""  # accounts trail behind the queue
    see = "; logs shows what the job printed" if has_log else ""
    return State(FAILED, f"job {job} ended{known} without a word{see}", job)


def _silence(folder: Path) -> float | None:
    """Seconds since the last sign of life; None where there was none, or the run has ended."""
    try:
        return max(0.0, time.time() - (folder / HEARTBEAT).stat().st_mtime)
    except OSError:
        return None


def _silent(seconds: float) -> str:
    return f"no sign of life for {seconds:.0f} s"


def _alive(pid: object) -> bool:
    """Whether a process of this machine is there and, where that can be seen, is one of ours."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        return not command.parent.exists() or b"lt_bench" in command.read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False


def run_folders(output_dir: Path) -> list[Path]:
    """The folders of all runs under a folder, sorted; those of a stage one alone are left out."""
    folders = [path for path in output_dir.glob("[0-9a-f]" * 12) if path.is_dir()] if output_dir.is_dir() else []
    return sorted(folder for folder in folders if _is_run(folder))


def _is_run(folder: Path) -> bool:
    submission = read_json(folder / SUBMISSION)
    if submission:
        return not submission.get("only_stage_one")
    return "run" in (read_json(folder / name).get("kind") for name in ("status.json", "record.json"))
