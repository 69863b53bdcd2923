"""A sweep on this machine: a few runs at a time, each a process of its own, shared stages first."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from lt_bench.compose import UsageError
from lt_bench.launch.plan import PlannedRun, plan

INTERRUPTED = 130


class Job(NamedTuple):
    """One process to start: the command's words, its identity, and the identity it has to wait for."""

    words: tuple[str, ...]
    identity: str
    after: str | None


def run_sweep(overrides: Sequence[str], dry_run: bool = False) -> int:
    """Carry out a sweep and return the exit status: 0 all done, 1 some failed, 130 interrupted."""
    runs = plan(overrides)
    if not runs:
        raise UsageError("the sweep names no run")
    done = [run for run in runs if run.done]
    print(f"{len(runs)} runs, {len(done)} of them done", file=sys.stderr)
    if dry_run:
        for run in runs:
            print(run.identity, "done " if run.done else "to do", " ".join(run.overrides))
        return 0
    settings = runs[0].config.launch
    threads = settings.threads_per_run or max(1, (os.cpu_count() or 1) // settings.parallel_runs)
    queue = Queue(_jobs(runs), settings.parallel_runs, threads, Path(runs[0].config.output_dir).expanduser())
    return queue.work()


def _jobs(runs: list[PlannedRun]) -> list[Job]:
    """A job per run that is not done; where several share a stage one that is not done either, it comes first."""
    waiting = [run for run in runs if not run.done]
    jobs: dict[str, Job] = {}
    for run in waiting:
        shared = sum(other.stage_one == run.stage_one for other in waiting) > 1 and not run.stage_one_done
        if shared and run.stage_one not in jobs:
            jobs[run.stage_one] = Job((*run.overrides, "--only-stage-one"), run.stage_one, None)
        jobs[run.identity] = Job(run.overrides, run.identity, run.stage_one if shared else None)
    return list(jobs.values())


class Queue:
    """Keeps ``parallel`` processes busy; what they print goes to log.txt in their run folders."""

    def __init__(self, jobs: list[Job], parallel: int, threads: int, output_dir: Path) -> None:
        self.waiting, self.parallel, self.output_dir = jobs, parallel, output_dir
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self.failed: list[str] = []

    def work(self) -> int:
        """Start, watch and collect the processes until none is left."""
        try:
            with tqdm(total=len(self.waiting), desc="runs", unit="run") as bar:
                while self.waiting or self.running:
                    self._start()
                    bar.update(self._collect(bar))
                    time.sleep(0.05)
        except KeyboardInterrupt:
            self._stop()
            return INTERRUPTED
        return 1 if self.failed else 0

    def _start(self) -> None:
        pending = {job.identity for job in self.waiting} | set(self.running)
        for job in list(self.waiting):
            if len(self.running) == self.parallel:
                return
            if job.after not in pending:  # where its stage one failed, it tries that again and tells why
                self.waiting.remove(job)
                self._launch(job)

    def _launch(self, job: Job) -> None:
        folder = self.output_dir / job.identity
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log = (folder / "log.txt").open("ab")
        except OSError as error:
            raise UsageError(
                f"cannot write into {folder} ({error.strerror}); choose another folder with output_dir=DIR"
            ) from error
        command = [sys.executable, "-m", "lt_bench", *job.words]
        # a session of its own: Ctrl-C reaches the sweep, which passes it on
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True
        )
        self.running[job.identity] = (process, log)

    def _collect(self, bar: tqdm[None]) -> int:
        ended = [name for name, (process, _) in self.running.items() if process.poll() is not None]
        for name in ended:
            process, log = self.running.pop(name)
            log.close()
            if process.returncode != 0:
                self.failed.append(name)
                bar.write(f"{name} failed (exit {process.returncode}): {self._last_line(name)}", file=sys.stderr)
        return len(ended)

    def _last_line(self, identity: str) -> str:
        path = self.output_dir / identity / "log.txt"
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} (all of it in {path})"

    def _stop(self) -> None:
        for process, _ in self.running.values():
            process.terminate()
        for process, log in self.running.values():
            process.wait()
            log.close()
        print("stopped; the same command goes on where it stopped", file=sys.stderr)
