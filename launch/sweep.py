"""A sweep: what is left of it is written into run folders, and carried out here or queued on a cluster."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lt_bench import command
from lt_bench.errors import UsageError
from lt_bench.record.folder import code_version

from .local.process_pool import Job, ProcessPool
from .local.progress import SweepProgress
from .planning.identity_cache import cache_identities
from .planning.plan import PlannedRun, plan
from .planning.run_groups import RunGroup, run_groups, submit
from .slurm.cluster import Cluster
from .states import BUSY, DONE, FAILED, STOPPED, TO_DO, State, states
from .submission import HEARTBEAT, label

OPEN = (TO_DO, STOPPED, FAILED)


def run_sweep(overrides: Sequence[str], dry_run: bool = False) -> int:
    """Carry out or queue what is left of a sweep; returns 0 all done or queued, 1 some failed, 130 interrupted."""
    runs = plan(overrides)
    if not dry_run:
        return carry_out(runs)
    known = states(run.folder for run in runs)
    print(counts(known[run.folder] for run in runs), file=sys.stderr)
    for run in runs:
        print(run.identity, known[run.folder].name, shlex.join(run.overrides))
    return command.DONE


def carry_out(runs: list[PlannedRun], among: Collection[str] = OPEN, keep: bool = True) -> int:
    """Carry out or queue those of some runs that are in certain states; returns the exit status of a sweep.

    Every run goes where its own settings say, here or to a cluster; what is queued comes first. ``keep``: cache the
    identities that overrides stand for, which overrides that were frozen earlier may not.
    """
    jobs: list[tuple[RunGroup, list[Job]]] = []
    for output_dir in dict.fromkeys(run.output_dir for run in runs):
        jobs += _submit([run for run in runs if run.output_dir == output_dir], among, keep)
    return _run_here(jobs) if jobs else command.DONE


def _submit(runs: list[PlannedRun], among: Collection[str], keep: bool) -> list[tuple[RunGroup, list[Job]]]:
    """Submit what is for a cluster of some runs in one folder; returns what is to be carried out here."""
    output_dir = runs[0].output_dir
    with one_at_a_time(Path(output_dir).expanduser()):
        cluster = Cluster()
        known = states({folder for run in runs for folder in (run.folder, run.stage_one_folder)}, cluster)
        print(counts(known[run.folder] for run in runs), file=sys.stderr)
        left = [run for run in runs if known[run.folder].name in among]
        if not left:
            return []
        if keep:
            identities = {run.overrides: (run.identity, run.stage_one) for run in runs}
            cache_identities(output_dir, identities, [run.composed for run in runs if run.composed])
        if lost := {known[run.folder].job or "" for run in left if known[run.folder].lost}:
            cluster.cancel(lost)
        found, code = run_groups(left, known), code_version()
        if away := [chain for chain in found if chain.launch.executor == "slurm"]:
            _queue(away, code, cluster)
        jobs = [(chain, submit(chain, code)) for chain in found if chain.launch.executor == "local"]
        for job in (job for _, each in jobs for job in each):
            (job.folder / HEARTBEAT).touch()  # in hand from here on: another sweep leaves them alone
        return jobs


def counts(found: Iterable[State]) -> str:
    """How many runs there are, and how many are in each state."""
    number = Counter(state.name for state in found)
    parts = [f"{name}: {number[name]}" for name in (DONE, *BUSY, FAILED, STOPPED) if number[name] or name == DONE]
    return ", ".join([f"runs: {number.total()}", *parts])


def differences(runs: list[PlannedRun]) -> dict[Path, str]:
    """What distinguishes runs in the words that were typed for them, by run folder; what they are for a single one."""
    if len(runs) == 1:
        return {runs[0].folder: label(asdict(runs[0].config))}
    common = set.intersection(*(set(run.overrides) for run in runs)) | {"sweep=[]"}
    return {run.folder: shlex.join(word for word in run.overrides if word not in common) for run in runs}


@contextmanager
def one_at_a_time(output_dir: Path) -> Iterator[None]:
    """A lock, so that two sweeps with runs in common do not both take them; says so where it has to wait."""
    folder = output_dir / "launch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write into {folder} ({error.strerror}); choose another folder with output_dir=DIR"
        ) from error
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"lt_bench: waiting for another sweep that is being submitted in {output_dir}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _queue(found: list[RunGroup], code: Mapping[str, Any], cluster: Cluster) -> None:
    from .slurm.arrays import queue_groups

    if code["git_dirty"]:
        print("lt_bench: warning: tracked files differ from the commit; records will say so", file=sys.stderr)
    output_dir = found[0].runs[0].output_dir
    for job, jobs, runs in queue_groups(found, code, cluster.max_array_size):
        print(f"queued job {job}: {runs} run{'s' * (runs > 1)} in {jobs} task{'s' * (jobs > 1)}")
    print(f"  python -m lt_bench.launch status --runs {shlex.quote(output_dir)} --watch    # or retry, cancel, logs")


def _run_here(jobs: list[tuple[RunGroup, list[Job]]]) -> int:
    configs = [run.config for chain, _ in jobs for run in chain.runs]
    config = min(configs, key=lambda config: config.launch.parallel_runs)  # never more at once than any of them allows
    order = [job for _, each in jobs for job in each]
    labels = differences([run for chain, _ in jobs for run in chain.runs])
    below = {job.after: f"stage one of {labels[job.folder]}" for job in order if job.after}
    parallel = config.launch.parallel_runs
    shared_out = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // parallel)
    threads = {"OMP_NUM_THREADS": str(config.launch.threads_per_run or shared_out)}
    with SweepProgress(len(order), parallel, {**labels, **below}, config.progress) as board:
        queue = ProcessPool(order, parallel, threads, board.note, fork=len(order) > 1)
        try:
            queue.work(lambda: board.refresh(queue))
        except KeyboardInterrupt:
            print("lt_bench: stopping; the same command goes on where it stopped", file=sys.stderr)
            return command.INTERRUPTED
    for line in board.failures:
        print(line, file=sys.stderr)
    if board.failures:
        print(f"lt_bench: {len(board.failures)} failed; the same command tries them again", file=sys.stderr)
    return command.FAILED if board.failures else command.DONE
