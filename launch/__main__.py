"""``python -m lt_bench.launch``: plan, submit, watch, retry and cancel sweeps, without importing torch."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from lt_bench.command import DONE, USAGE, as_called, exit_status, printable
from lt_bench.config.own_files import add_option, own_files
from lt_bench.errors import UsageError
from lt_bench.files import read_bytes

EXAMPLES = """\
OVERRIDES are those of a sweep, as after python -m lt_bench -m. Without them, status, retry and cancel apply to all runs
in the folder of --runs.

  python -m lt_bench.launch plan method=ce,sbcl seed='range(5)'             what would run, and its estimated cost
  python -m lt_bench.launch submit method=ce,sbcl seed='range(5)' launch=slurm_packed launch.partition=gpu
  python -m lt_bench.launch status --watch                                  all runs in runs/, every 10 seconds
  python -m lt_bench.launch retry                                           all runs that failed, as they were submitted
  python -m lt_bench.launch retry method=sbcl launch=slurm launch.mem_gb=64    of this sweep, with more memory
  python -m lt_bench.launch retry trust=[my_module]                         that failed, with code of your own in them
  python -m lt_bench.launch cancel method=sbcl                              the cluster's jobs of these runs
  python -m lt_bench.launch logs 0c94                                       the logs of run 0c94... and of its job

A second submit of the same sweep queues only runs that are not done, running or queued. A job that is cancelled, or
reaches its time limit, writes checkpoints: submit or retry goes on from them. Ctrl-C stops a sweep on this machine.

exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _dispatch(words), goes_on="submit" in words or "retry" in words)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m lt_bench.launch --help")


def _dispatch(argv: list[str]) -> int:
    if not argv:
        raise UsageError(f"give a command: {', '.join(COMMANDS)}; see python -m lt_bench.launch --help")
    arguments = _parser().parse_intermixed_args(argv)
    _refuse_options_of_other_commands(arguments)
    if arguments.lines < 1:
        raise UsageError(f"--lines {arguments.lines}: --lines takes numbers from 1")
    with own_files(arguments.config_dir):
        return COMMANDS[arguments.command](arguments)


def _refuse_options_of_other_commands(arguments: argparse.Namespace) -> None:
    """Raise UsageError for an option that the command would ignore: cancel --dry-run would cancel."""
    command, default = arguments.command, _parser().parse_args([arguments.command])
    for option, owner in OPTIONS.items():
        if command != owner and getattr(arguments, option) != getattr(default, option):
            raise UsageError(f"--{option.replace('_', '-')} is for {owner}; leave it out")
    if arguments.runs is None:
        arguments.runs = Path("runs")
        return
    of_sweep = arguments.overrides and (command != "retry" or _trust_alone(arguments.overrides) is None)
    if command in ("plan", "submit") or (of_sweep and command != "logs"):
        raise UsageError(f"--runs is for commands without overrides; write output_dir={arguments.runs}")


def _trust_alone(overrides: Sequence[str]) -> list[str] | None:
    """The modules to trust where nothing else is typed: then the words are of no sweep; None where they are."""
    from lt_bench.config.compose import parse
    from lt_bench.config.trust import wrong_names

    typed = parse(overrides)
    if any(one.key_or_group != "trust" for one in typed):
        return None
    values = [one.value() for one in typed]
    found = [str(name) for value in values for name in (value if isinstance(value, list) else [value])]
    if wrong := list(wrong_names(found)):
        raise UsageError("\n".join(wrong))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=as_called("python -m lt_bench.launch"),
        description="Plan, submit, watch, retry and cancel sweeps.",
        epilog=as_called(EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDES", help="overrides of a sweep; for logs: beginnings of run names"
    )
    parser.add_argument("--runs", type=Path, metavar="DIR", help="run folders (runs)")
    parser.add_argument("--dry-run", action="store_true", help="submit: only print what would be submitted")
    parser.add_argument("--watch", action="store_true", help="status: repeat until no run is running or queued")
    parser.add_argument("--lines", type=int, default=20, metavar="N", help="logs: the last N lines (%(default)s)")
    add_option(parser)
    return parser


def _plan(arguments: argparse.Namespace) -> int:
    from .planning.plan import plan
    from .search.planned import is_search
    from .sweep import run_sweep
    from .tables import plan_text

    if is_search(arguments.overrides):
        return run_sweep(arguments.overrides, dry_run=True)
    print(printable(plan_text(plan(arguments.overrides))))
    return DONE


def _submit(arguments: argparse.Namespace) -> int:
    from .sweep import run_sweep

    return run_sweep(arguments.overrides, arguments.dry_run)


def _status(arguments: argparse.Namespace) -> int:
    from .search.planned import is_search
    from .states import BUSY, states
    from .tables import status_text

    if is_search(arguments.overrides):
        return _plan(arguments)
    folders = _folders(arguments)
    if not folders:
        print(f"there are no runs in {arguments.runs}; name their folder with --runs DIR")
        return DONE
    while True:
        found = states(folders)
        text = printable(status_text(found))
        print(f"\033[H\033[J{text}" if arguments.watch and sys.stdout.isatty() else text, flush=True)
        if not arguments.watch or not any(state.name in BUSY for state in found.values()):
            return DONE
        time.sleep(WATCH_S)


def _retry(arguments: argparse.Namespace) -> int:
    from .planning.plan import plan, planned
    from .search.planned import is_search
    from .states import FAILED, run_folders, states
    from .submission import SUBMISSION, refuse_commands, thaw
    from .sweep import carry_out, run_sweep

    if is_search(arguments.overrides):
        return run_sweep(arguments.overrides)
    trust = _trust_alone(arguments.overrides)
    if trust is None:
        runs = plan(arguments.overrides)
        if all(state.name != FAILED for state in states(run.folder for run in runs).values()):
            print("no run of this sweep has failed")
            return DONE
    else:
        folders = [folder for folder in run_folders(arguments.runs) if (folder / SUBMISSION).exists()]
        failed = [folder for folder, state in states(folders).items() if state.name == FAILED]
        runs = []
        for folder in failed:
            try:
                submission = thaw(folder, trust)
                refuse_commands(submission.config.launch, folder, trust)
            except UsageError as error:  # submitted by another version of the code: retry the others
                print(printable(f"lt_bench: warning: not retried: {error}"), file=sys.stderr)
            else:
                runs.append(planned(submission.overrides, submission.config))
        if failed and not runs:
            return USAGE
    if not runs:
        print(f"no submitted run in {arguments.runs} has failed")
        return DONE
    return carry_out(runs, among=(FAILED,), keep=trust is None)


def _cancel(arguments: argparse.Namespace) -> int:
    from .slurm.cluster import Cluster
    from .states import BUSY, states

    cluster = Cluster()
    found = states(_folders(arguments), cluster)
    jobs = {state.job for state in found.values() if state.job and (state.name in BUSY or state.lost)}
    jobs &= (cluster.queued or {}).keys()
    if jobs:
        cluster.cancel(jobs)
    print(f"cancelled {len(jobs)} of the cluster's jobs{': ' * bool(jobs)}{' '.join(sorted(jobs))}")
    return DONE


def _logs(arguments: argparse.Namespace) -> int:
    from .states import run_folders
    from .submission import job_logs

    for name in arguments.overrides or [""]:
        folders = [folder for folder in run_folders(arguments.runs) if folder.name.startswith(name)]
        if not name or not folders:
            raise UsageError(f"logs takes beginnings of the names of runs in {arguments.runs}, as status shows them")
        for folder in folders:
            logs = [*sorted(folder.glob("log*.txt")), *job_logs(folder)]
            if not logs:
                print(f"{folder} has no log: the run has not started, or was not submitted")
            for path in logs:
                try:
                    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
                except OSError as error:
                    lines = [f"cannot be read ({error.strerror})"]
                print(printable("\n".join([f"==> {path} <==", *lines[-arguments.lines :]])))
    return DONE


def _folders(arguments: argparse.Namespace) -> list[Path]:
    """The folders of the runs of a sweep or the trials of a search, or of all runs in the folder of ``--runs``."""
    from .planning.plan import plan
    from .search.planned import is_search, plan_search
    from .states import run_folders

    if is_search(arguments.overrides):
        return plan_search(arguments.overrides).trials
    return [run.folder for run in plan(arguments.overrides)] if arguments.overrides else run_folders(arguments.runs)


WATCH_S = 10
OPTIONS = {"dry_run": "submit", "watch": "status", "lines": "logs"}
COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "plan": _plan,
    "submit": _submit,
    "status": _status,
    "retry": _retry,
    "cancel": _cancel,
    "logs": _logs,
}


if __name__ == "__main__":
    sys.exit(main())
