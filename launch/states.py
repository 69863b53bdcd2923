"""The states of runs: read from their folders first, then from the cluster's queue and accounts.

No time stamp is compared with a clock (see ``liveness``). A job's scheduler knows whether it runs; where there is none,
or it does not hear of the job's node, signs of life are looked at until they have moved, or have stood still.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lt_bench.files import read_json
from lt_bench.liveness import SIGNS, STILL_S, Signs, lives
from lt_bench.record.folder import LOCK, finished

from .slurm.cluster import KILLED, RUNNING_JOB, Cluster, Queued, is_for_memory
from .submission import HEARTBEAT, JOB, SUBMISSION, job_logs, more_memory

DONE, RUNNING, QUEUED, FAILED, STOPPED, TO_DO = "done", "running", "queued", "failed", "stopped", "to do"
BUSY = (RUNNING, QUEUED)


class State(NamedTuple):
    """A run's state, a short explanation, and the cluster's job that carries it out or did.

    ``lost``: the job is in the queue as running, but its run gives no sign of life, and its node does not answer.
    """

    name: str
    detail: str = ""
    job: str | None = None
    lost: bool = False


class _Open(NamedTuple):
    """A state that is open until the run's signs of life have been looked at."""

    moving: State
    still: State


def states(folders: Iterable[Path], cluster: Cluster | None = None, signs: Signs = SIGNS) -> dict[Path, State]:
    """The state of every run folder; a run whose process exited without a status has failed.

    A stage one that a job of the cluster trains as a part of a run has the state of that run while that run is running
    or queued. ``signs`` are those of earlier looks. Where signs of life have to be looked at, it says so and takes up
    to ``STILL_S``.
    """
    folders = list(folders)
    within = {folder: folder.with_name(name) for folder in folders if (name := _word(folder, "run"))}
    found = _each_by_itself(dict.fromkeys((*folders, *within.values())), cluster or Cluster(), signs)
    for folder, run in within.items():
        if found[folder].name != DONE and found[run].name in BUSY and found[run].job:
            found[folder] = found[run]
    return {folder: found[folder] for folder in folders}


def _word(folder: Path, key: str) -> str | None:
    """What the file on the cluster's job says under a key: a job, or the run that trains this stage one; else None."""
    found = read_json(folder / JOB).get(key)
    return found if isinstance(found, str) and re.fullmatch(r"\w+", found, re.ASCII) else None


def _each_by_itself(folders: Iterable[Path], cluster: Cluster, signs: Signs) -> dict[Path, State]:
    found: dict[Path, State] = {}
    looked_at: dict[Path, _Open] = {}
    ended: dict[Path, str] = {}
    for folder in folders:
        state, job = _at_first_sight(folder, cluster), _word(folder, "job")
        if isinstance(state, _Open):
            looked_at[folder] = _Open(*(each._replace(job=job) for each in state))
            continue
        found[folder] = state._replace(job=job)
        if job and cluster.queued is not None and job not in cluster.queued:
            if state.name == TO_DO or (state.name == FAILED and read_json(folder / "status.json").get("killed")):
                ended[folder] = job
    accounts = cluster.ended(ended.values())
    for folder, job in ended.items():
        if found[folder].name == TO_DO or is_for_memory(accounts.get(job, "")):
            found[folder] = _after_job(folder, accounts.get(job, ""), job)
    return found | _looked_at(looked_at, signs)


def _at_first_sight(folder: Path, cluster: Cluster) -> State | _Open:
    job = _word(folder, "job")
    if finished(str(folder.parent), folder.name):
        return State(DONE)
    if job and (cluster.queued is None or job in cluster.queued):
        return _with_job(folder, (cluster.queued or {}).get(job))
    return _without_job(folder, had_one=job is not None)


def _looked_at(folders: Mapping[Path, _Open], signs: Signs) -> dict[Path, State]:
    """The states of runs whose signs of life have to be looked at: all at the same time."""

    def told() -> None:
        runs = f"{len(folders)} run{'s' * (len(folders) > 1)}"
        print(f"lt_bench: looking for signs of life of {runs}, for {STILL_S} s at most", file=sys.stderr)

    files = {folder: signs_of(folder) for folder in folders}
    moving = signs.moving(files.values(), told)
    return {folder: state.moving if files[folder] in moving else state.still for folder, state in folders.items()}


def signs_of(folder: Path) -> tuple[Path, Path]:
    """The files in a run folder that whoever starts the run, and the run itself, renew."""
    return folder / HEARTBEAT, folder / LOCK


def _with_job(folder: Path, queued: Queued | None) -> State | _Open:
    """The state of a run whose job is in the queue, or whose queue cannot be read from here."""
    status = read_json(folder / "status.json")
    if status.get("state") == "failed":
        return State(FAILED, str(status.get("error", "")))
    if queued and queued.state != RUNNING_JOB:
        return State(QUEUED, f"{queued.state.lower()}, {queued.reason}")
    pending = State(QUEUED, "pending" if queued else "the cluster's queue cannot be read from here")
    if not _givers(folder):
        return pending
    if queued and queued.answers:
        return _active(status)
    # one in a job that has just started was left before the job was requeued
    still = pending if queued and queued.just_started else State(FAILED, NO_HEARTBEAT, lost=queued is not None)
    return _Open(_active(status), still)


def _without_job(folder: Path, had_one: bool) -> State | _Open:
    """The state of a run without a job in the queue, from its folder alone.

    ``had_one``: its job has left the queue. The state is then "to do" where only the accounts can explain it.
    """
    status = read_json(folder / "status.json")
    state, alive = status.get("state"), lives(status)
    if state == "failed":
        return State(FAILED, str(status.get("error", "")))
    if state == "running" and alive:
        return State(RUNNING)
    if had_one:
        return State(TO_DO)
    if state == "interrupted":  # whatever it left
        return State(STOPPED, "goes on where it stopped")
    givers = _givers(folder)
    if True in givers:
        return _active(status)
    if state == "running" and alive is False:
        return State(FAILED, "its process exited without a status")
    still = State(FAILED, NO_HEARTBEAT)
    if givers:
        return _Open(_active(status), still) if None in givers else still
    if state == "running" and "started" in status:  # one that lives holds its lock, and renews it
        return _Open(_active(status), still)
    if state == "running":  # of an older version
        return State(RUNNING, f"on {status.get('host')}, whose processes cannot be checked from here")
    return State(TO_DO)


def _givers(folder: Path) -> list[bool | None]:
    """Whether the processes live that gave the signs of life in a folder: whoever starts the run, and the run itself.

    None for one that cannot be known from here.
    """
    run = read_json(folder / LOCK)  # empty when the lock was released
    starter = [lives(read_json(folder / HEARTBEAT))] if (folder / HEARTBEAT).exists() else []
    return starter + ([lives(run)] if run else [])


def _active(status: Mapping[str, object]) -> State:
    """The state of a run that gives signs of life: pending until its status is "running"."""
    pending = status.get("state") in ("submitted", "interrupted")
    return State(QUEUED, "pending") if pending else State(RUNNING)


def _after_job(folder: Path, state: str, job: str) -> State:
    """The state of a run without a record or an error, whose job has ended in the given state."""
    if state.startswith("CANCELLED"):
        return State(STOPPED, f"job {job} was cancelled", job)
    if is_for_memory(state) or state == KILLED:
        why = "killed for memory" if is_for_memory(state) else "killed, perhaps for memory"
        return State(FAILED, f"job {job} was {why}; {more_memory(folder)}", job)
    known = f" ({state})" if state not in ("", RUNNING_JOB, "PENDING") else ""  # accounts are updated after the queue
    see = "; logs shows what the job printed" if job_logs(folder) else ""
    return State(FAILED, f"job {job} exited without a status{known}{see}", job)


NO_HEARTBEAT = f"no heartbeat for {STILL_S} s"


def run_folders(output_dir: Path) -> list[Path]:
    """The folders of all runs under a folder, sorted; those of a stage one alone are left out."""
    folders = [path for path in output_dir.glob("[0-9a-f]" * 12) if path.is_dir()] if output_dir.is_dir() else []
    return sorted(folder for folder in folders if _is_run(folder))


def _is_run(folder: Path) -> bool:
    submission = read_json(folder / SUBMISSION)
    if submission:
        return not submission.get("only_stage_one")
    return "run" in (read_json(folder / name).get("kind") for name in ("status.json", "record.json"))
