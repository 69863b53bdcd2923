"""A sweep on this machine: a few runs at a time, each a process of its own, shared stages first."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from lt_bench.compose import UsageError
from lt_bench.config import Launch
from lt_bench.launch.plan import PlannedRun, plan

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Job(NamedTuple):
    """One process to start: the command's words, its identity, and the identity it has to wait for."""

    words: tuple[str, ...]
    identity: str
    after: str | None


def run_sweep(overrides: Sequence[str], dry_run: bool = False) -> int:
    """Carry out a sweep and return the exit status: 0 all done, 1 some failed, 130 interrupted."""
    runs = plan(overrides)
    done = [run.identity for run in runs if run.done]
    print(f"runs: {len(runs)}, done: {len(done)}", file=sys.stderr)
    if dry_run:
        for run in runs:
            print(run.identity, "done " if run.identity in done else "to do", shlex.join(run.overrides))
        return DONE
    waiting = [run for run in runs if run.identity not in done]
    config = runs[0].config
    return Queue(_jobs(waiting), config.launch, Path(config.output_dir).expanduser(), config.progress).work()


def _jobs(waiting: list[PlannedRun]) -> list[Job]:
    """A job per run; where several share a stage one that is not done either, that comes first as its own job."""
    users = Counter(run.stage_one for run in waiting if not run.stage_one_done)
    jobs: dict[str, Job] = {}
    for run in waiting:
        shared = users[run.stage_one] > 1
        if shared:
            jobs.setdefault(run.stage_one, Job((*run.overrides, "--only-stage-one"), run.stage_one, None))
        jobs[run.identity] = Job(run.overrides, run.identity, run.stage_one if shared else None)
    return list(jobs.values())


class Queue:
    """Keeps a few processes busy; what they print goes to log.txt in their run folders."""

    def __init__(self, jobs: list[Job], settings: Launch, output_dir: Path, progress: bool) -> None:
        self.waiting, self.parallel, self.output_dir, self.progress = jobs, settings.parallel_runs, output_dir, progress
        shared_out = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // self.parallel)
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(settings.threads_per_run or shared_out)}
        self.running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self.failed: dict[str, int] = {}  # identities with exit statuses

    def work(self) -> int:
        """Start, watch and collect the processes until none is left; none outlives this call."""
        try:
            with tqdm(total=len(self.waiting), desc="runs", unit="run", disable=not self.progress) as bar:
                while self.waiting or self.running:
                    bar.update(self._start() + self._collect())
                    time.sleep(0.05)
        except KeyboardInterrupt:
            print("lt_bench: stopping; the same command goes on where it stopped", file=sys.stderr)
            return INTERRUPTED
        finally:
            self._stop()
        if self.failed:
            print(f"lt_bench: {len(self.failed)} failed; the same command tries them again", file=sys.stderr)
        return FAILED if self.failed else DONE

    def _start(self) -> int:
        """Start what can start; return how many jobs have to be given up because their stage one failed."""
        pending = {job.identity for job in self.waiting} | set(self.running)
        given_up = 0
        for job in list(self.waiting):
            # a stage one that was refused may be in the hands of another process, for which a run waits
            if job.after and self.failed.get(job.after, USAGE) != USAGE:
                self.waiting.remove(job)
                self._report(job.identity, FAILED, f"not run, because its stage one {job.after} failed")
                given_up += 1
            elif job.after not in pending and len(self.running) < self.parallel:
                self.waiting.remove(job)
                self._launch(job)
        return given_up

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

    def _collect(self) -> int:
        """Take note of the processes that have ended; return how many they are."""
        ended = [name for name, (process, _) in self.running.items() if process.poll() is not None]
        for name in ended:
            process, log = self.running.pop(name)
            log.close()
            if process.returncode != 0:
                said = f"failed (exit {process.returncode}): {self._last_line(name)}"
                self._report(name, process.returncode, said)
        return len(ended)

    def _report(self, identity: str, status: int, what: str) -> None:
        self.failed[identity] = status
        tqdm.write(f"{identity} {what}", file=sys.stderr)

    def _last_line(self, identity: str) -> str:
        path = self.output_dir / identity / "log.txt"
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} (all of it in {path})"

    def _stop(self) -> None:
        """Ask what still runs to stop, which makes it write a checkpoint; an interruption meanwhile ends it at once."""
        for process, _ in self.running.values():
            process.terminate()
        try:
            for process, _ in self.running.values():
                process.wait()
        finally:
            for process, log in self.running.values():
                process.kill()
                log.close()
