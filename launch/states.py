"""The states of runs: read from their folders first, then from the cluster's queue and accounts."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lt_bench.files import read_json
from lt_bench.record.folder import finished

from .slurm.cluster import Cluster, Queued
from .submission import HEARTBEAT, JOB, SUBMISSION, job_logs

DONE, RUNNING, QUEUED, FAILED, STOPPED, TO_DO = "done", "running", "queued", "failed", "stopped", "to do"
BUSY = (RUNNING, QUEUED)
HEARTBEAT_TIMEOUT_S = 45  # four heartbeats are missing


class State(NamedTuple):
    """A run's state, a short explanation, and the cluster's job that carries it out or did.

    ``lost``: the job is in the queue as running, but its run has no recent heartbeat.
    """

    name: str
    detail: str = ""
    job: str | None = None
    lost: bool = False


def states(folders: Iterable[Path], cluster: Cluster | None = None) -> dict[Path, State]:
    """The state of every run folder; a run whose process exited without a status has failed.

    A stage one that a job of the cluster trains as a part of a run has the state of that run while that run is running
    or queued.
    """
    folders = list(folders)
    within = {folder: folder.with_name(name) for folder in folders if (name := _word(folder, "run"))}
    found = _each_by_itself(dict.fromkeys((*folders, *within.values())), cluster or Cluster())
    for folder, run in within.items():
        if found[folder].name != DONE and found[run].name in BUSY and found[run].job:
            found[folder] = found[run]
    return {folder: found[folder] for folder in folders}


def _word(folder: Path, key: str) -> str | None:
    """What the file on the cluster's job says under a key: a job, or the run that trains this stage one; else None."""
    found = read_json(folder / JOB).get(key)
    return found if isinstance(found, str) and found == Path(found).name else None


def _each_by_itself(folders: Iterable[Path], cluster: Cluster) -> dict[Path, State]:
    found: dict[Path, State] = {}
    unexplained: dict[Path, str] = {}
    for folder in folders:
        job = _word(folder, "job")
        if finished(str(folder.parent), folder.name):
            found[folder] = State(DONE, job=job)
        elif job and cluster.queued is not None and job not in cluster.queued:
            found[folder] = _without_job(folder, had_one=True)._replace(job=job)
            if found[folder].name == TO_DO:
                unexplained[folder] = job
        elif job:
            found[folder] = _with_job(folder, (cluster.queued or {}).get(job))._replace(job=job)
        else:
            found[folder] = _without_job(folder, had_one=False)
    ended = cluster.ended(unexplained.values())
    for folder, job in unexplained.items():
        found[folder] = _after_job(ended.get(job, ""), job, has_log=bool(job_logs(folder)))
    return found


def _with_job(folder: Path, queued: Queued | None) -> State:
    """The state of a run whose job is in the queue, or whose queue cannot be read from here."""
    status, age = read_json(folder / "status.json"), _heartbeat_age(folder)
    if status.get("state") == "failed":
        return State(FAILED, str(status.get("error", "")))
    if queued and queued.state != "RUNNING":
        return State(QUEUED, f"{queued.state.lower()}, {queued.reason}")
    # an old heartbeat in a job that has just started was left before the job was requeued
    if age is None or (queued and queued.just_started and age >= HEARTBEAT_TIMEOUT_S):
        return State(QUEUED, "pending" if queued else "the cluster's queue cannot be read from here")
    if age < HEARTBEAT_TIMEOUT_S:
        return _active(status)
    return State(FAILED, _no_heartbeat(age), lost=queued is not None)


def _without_job(folder: Path, had_one: bool) -> State:
    """The state of a run without a job in the queue, from its folder alone.

    ``had_one``: its job has left the queue. The state is then "to do" where only the accounts can explain it.
    """
    status, age = read_json(folder / "status.json"), _heartbeat_age(folder)
    state, host, pid = status.get("state"), status.get("host"), status.get("pid")
    if state == "failed":
        return State(FAILED, str(status.get("error", "")))
    here = host == socket.gethostname()
    if state == "running" and here and _is_running(pid):
        return State(RUNNING)
    if had_one:
        return State(TO_DO)
    if state == "interrupted":  # however old its heartbeat is
        return State(STOPPED, "goes on where it stopped")
    if age is not None:
        return _active(status) if age < HEARTBEAT_TIMEOUT_S else State(FAILED, _no_heartbeat(age))
    if state == "running" and here:
        return State(FAILED, "its process exited without a status")
    if state == "running":
        return State(RUNNING, f"on {host}, whose processes cannot be checked from here")
    return State(TO_DO)


def _active(status: Mapping[str, object]) -> State:
    """The state of a run with a recent heartbeat: pending until its status is "running"."""
    pending = status.get("state") in ("submitted", "interrupted")
    return State(QUEUED, "pending") if pending else State(RUNNING)


def _after_job(state: str, job: str, has_log: bool) -> State:
    """The state of a run without a record or an error, whose job has ended in the given state."""
    if state.startswith("CANCELLED"):
        return State(STOPPED, f"job {job} was cancelled", job)
    known = f" ({state})" if state not in ("", "RUNNING", "PENDING") else ""  # accounts are updated after the queue
    see = "; logs shows what the job printed" if has_log else ""
    return State(FAILED, f"job {job} exited without a status{known}{see}", job)


def _heartbeat_age(folder: Path) -> float | None:
    """Seconds since the last heartbeat; None where there was none, or the run has ended."""
    try:
        return max(0.0, time.time() - (folder / HEARTBEAT).stat().st_mtime)
    except OSError:
        return None


def _no_heartbeat(seconds: float) -> str:
    return f"no heartbeat for {seconds:.0f} s"


def _is_running(pid: object) -> bool:
    """Whether a process of this machine exists and, where that can be read, is one of ours."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
        command = Path(f"/proc/{pid}/cmdline")
        return not command.parent.exists() or b"lt_bench" in command.read_bytes()
    except PermissionError:
        return True
    except (OSError, OverflowError):
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
