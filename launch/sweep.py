"""A sweep: its open runs are submitted, and carried out on this machine or queued on a cluster."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lt_bench import command
from lt_bench.command import as_called, printable
from lt_bench.config.schema import Config, plain
from lt_bench.errors import UsageError
from lt_bench.files import sweep
from lt_bench.liveness import SIGNS
from lt_bench.locks import Lock
from lt_bench.preflight.epochs import remarks
from lt_bench.processes import left_to_sweep
from lt_bench.record.edited import refuse_edited
from lt_bench.record.folder import LOCK, code_version
from lt_bench.record.own_code import described

from .local.process_pool import Job, ProcessPool
from .local.progress import SweepProgress
from .planning.estimate import expected_cost
from .planning.identity_cache import cache_identities
from .planning.plan import PlannedRun, plan
from .planning.run_groups import Queueable, RunGroup, run_groups
from .results import show_results
from .search.planned import is_search
from .slurm.cluster import Cluster
from .states import BUSY, DONE, FAILED, STOPPED, TO_DO, State, signs_of, states
from .submission import give_sign, label, own_threads, signs_meanwhile

OPEN = (TO_DO, STOPPED, FAILED)
REMARKS = 10  # lines on the epochs of a sweep's runs


def run_sweep(overrides: Sequence[str], dry_run: bool = False) -> int:
    """Carry out or queue the open runs of a sweep and show its results; returns 0, 1 some failed, 130 interrupted."""
    if is_search(overrides):
        from .search.carry_out import run_search

        return run_search(overrides, dry_run)
    runs = plan(overrides)
    if not dry_run:
        status = carry_out(runs)
        if status != command.INTERRUPTED:
            show_results(runs, differences(runs))
        return status
    known = states(run.folder for run in runs)
    print(counts(known[run.folder] for run in runs), file=sys.stderr)
    for run in runs:
        print(run.identity, known[run.folder].name, printable(shlex.join(run.overrides)))
    for line in all_remarks(runs):
        print(printable(line), file=sys.stderr)
    return command.DONE


def carry_out(runs: list[PlannedRun], among: Collection[str] = OPEN, keep: bool = True) -> int:
    """Carry out or queue the runs whose states are ``among`` the given ones; returns the exit status of a sweep.

    Every run goes where its own settings say, to this machine or to a cluster; the cluster's runs are queued first.
    ``keep``: cache the identities of the overrides; those of older submissions may have another meaning by now.
    """
    jobs, waiting = list[tuple[RunGroup, list[Job]]](), list[Path]()
    with signs_meanwhile(waiting):  # of the runs in one folder, while another folder is waited for
        for output_dir in dict.fromkeys(run.output_dir for run in runs):
            found = _submit([run for run in runs if run.output_dir == output_dir], among, keep)
            waiting += [job.folder for _, each in found for job in each]
            jobs += found
    return _run_here(jobs) if jobs else command.DONE


def _submit(runs: list[PlannedRun], among: Collection[str], keep: bool) -> list[tuple[RunGroup, list[Job]]]:
    """Queue those of some runs in one folder that are for a cluster; returns those to be carried out here."""
    output_dir, folders = runs[0].output_dir, {folder for run in runs for folder in (run.folder, run.stage_one_folder)}
    with one_at_a_time(Path(output_dir).expanduser(), folders):
        cluster = Cluster()
        known = states(folders, cluster)
        print(counts(known[run.folder] for run in runs), file=sys.stderr)
        open_runs = [run for run in runs if known[run.folder].name in among]
        if not open_runs:
            return []
        cost = expected_cost(open_runs, stage_ones_done(open_runs, known))
        print(printable(f"to do: {len(open_runs)}; {cost}"), file=sys.stderr)
        composed = [config for run in open_runs if (config := run.composed)]  # others, of the cache, have no own code
        for config in composed:
            refuse_edited(config)
        if own := dict.fromkeys(filter(None, map(described, composed))):
            print(printable(f"code of your own: {'; '.join(own)}"))
        if keep:
            identities = {run.overrides: (run.identity, run.stage_one) for run in runs}
            cache_identities(output_dir, identities, [run.composed for run in runs if run.composed])
        if lost := {known[run.folder].job or "" for run in open_runs if known[run.folder].lost}:
            cluster.cancel(lost)
        for folder in dict.fromkeys(folder for run in open_runs for folder in (run.folder, run.stage_one_folder)):
            Lock(folder / LOCK).free()  # of a dead machine: the run itself need not look at it once more
        groups, code = run_groups(open_runs, known), code_version()
        if for_cluster := [group for group in groups if group.launch.executor == "slurm"]:
            queue(for_cluster, code, cluster, output_dir)
        jobs = [(group, group.submit(code)) for group in groups if group.launch.executor == "local"]
        for job in (job for _, each in jobs for job in each):
            give_sign(job.folder)  # queued from here on: another sweep does not start them
        return jobs


def counts(found: Iterable[State]) -> str:
    """How many runs there are, and how many are in each state."""
    number = Counter(state.name for state in found)
    parts = [f"{name}: {number[name]}" for name in (DONE, *BUSY, FAILED, STOPPED) if number[name] or name == DONE]
    return ", ".join([f"runs: {number.total()}", *parts])


def stage_ones_done(runs: Iterable[PlannedRun], known: Mapping[Path, State]) -> dict[str, bool]:
    """Whether the stage one of each run is done, by identity."""
    return {run.stage_one: known[run.stage_one_folder].name == DONE for run in runs}


def all_remarks(runs: Iterable[PlannedRun]) -> list[str]:
    """What is said of the epochs of some runs, each line once, as far as their configs are composed."""
    found = dict.fromkeys(line for run in runs if run.composed for line in remarks(run.composed))
    lines = list(found)
    return lines[:REMARKS] + [f"... and {len(lines) - REMARKS} more lines on epochs"] * (len(lines) > REMARKS)


def differences(runs: list[PlannedRun]) -> dict[Path, str]:
    """The overrides in which runs differ, by run folder; the title of a run where it is the only one."""
    if len(runs) == 1:
        return {runs[0].folder: printable(label(plain(runs[0].config)))}
    common = set.intersection(*(set(run.overrides) for run in runs)) | {"sweep=[]"}
    own = {run.folder: [override for override in run.overrides if override not in common] for run in runs}
    return {folder: printable(shlex.join(overrides)) for folder, overrides in own.items()}


@contextmanager
def one_at_a_time(output_dir: Path, folders: Collection[Path] = ()) -> Iterator[None]:
    """A lock, so that two sweeps with runs in common do not both start them; prints a line where it has to wait.

    Signs of life in some run folders, which it will look at next, are looked at for the first time before it waits.
    """
    folder = output_dir / "launch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write into {folder} ({error.strerror}); choose another folder with output_dir=DIR"
        ) from error
    lock = Lock(folder / LOCK)

    def waiting() -> None:
        print(f"lt_bench: waiting for another sweep that is being submitted in {output_dir}", file=sys.stderr)
        for each in folders:
            SIGNS.moved(*signs_of(each))

    lock.acquire(waiting)
    sweep(folder)
    try:
        yield
    finally:
        lock.release()


def queue(groups: Sequence[Queueable], code: Mapping[str, Any], cluster: Cluster, output_dir: str) -> None:
    """Queue groups of runs on a cluster, and say as which jobs."""
    from .slurm.arrays import queue_groups

    if code["git_dirty"]:
        print("lt_bench: warning: tracked files differ from the commit; this is recorded", file=sys.stderr)
    for job, jobs, runs in queue_groups(groups, code, cluster):
        print(f"queued job {job}: {runs} run{'s' * (runs > 1)} in {jobs} task{'s' * (jobs > 1)}")
    status = f"{as_called('python -m lt_bench.launch')} status --runs {shlex.quote(output_dir)} --watch"
    print(f"  {status}    # or retry, cancel, logs")


def _run_here(jobs: list[tuple[RunGroup, list[Job]]]) -> int:
    configs = [run.config for group, _ in jobs for run in group.runs]
    order = [job for _, each in jobs for job in each]
    labels = differences([run for group, _ in jobs for run in group.runs])
    stage_ones = {job.after: f"stage one of {labels[job.folder]}" for job in order if job.after}
    config = min(configs, key=lambda config: config.launch.parallel_runs)  # the lowest limit holds for all
    return run_here(order, {**labels, **stage_ones}, config)


def run_here(order: list[Job], labels: dict[Path, str], config: Config) -> int:
    """Carry out jobs on this machine, and show how far they are; returns the exit status of a sweep."""
    parallel = config.launch.parallel_runs
    for line in left_to_sweep():
        print(printable(f"lt_bench: note: {line}"), file=sys.stderr)
    with SweepProgress(len(order), parallel, labels, config.progress) as progress:
        pool = ProcessPool(order, parallel, own_threads(config.launch), progress.note, fork=len(order) > 1)
        try:
            pool.work(lambda: progress.refresh(pool))
        except KeyboardInterrupt:
            print("lt_bench: stopping; the same command goes on where it stopped", file=sys.stderr)
            return command.INTERRUPTED
    for line in progress.failures:
        print(line, file=sys.stderr)
    if progress.failures:
        print(f"lt_bench: {len(progress.failures)} failed; the same command tries them again", file=sys.stderr)
    return command.FAILED if progress.failures else command.DONE
