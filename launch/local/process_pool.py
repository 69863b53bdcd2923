"""A few runs at a time, each a process of its own: on this machine, and inside a job of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from lt_bench.command import DONE, FAILED, INTERRUPTED
from lt_bench.files import write_json

from ..submission import HEARTBEAT, LOG, read_json
from .fork_server import ForkedProcess, ForkServer, ServerLost, follow_parent

HEARTBEAT_S = 10  # a run whose heartbeat is much older has died without a word


class Job(NamedTuple):
    """One run to carry out: its folder, which holds its submission, and the folder of the run it has to wait for."""

    folder: Path
    after: Path | None = None


class Process(NamedTuple):
    """A run that is being carried out."""

    job: Job
    popen: subprocess.Popen[bytes] | ForkedProcess
    started: float


class ProcessPool:
    """Keeps a few processes busy; what they print goes to log.txt in their run folders.

    ``ended`` is told of every job that has ended, with its exit status and a word on it. ``rank`` above 0 is that of a
    process that helps with a run and leaves its state to rank 0. With ``fork`` the processes are forks of one that has
    imported PyTorch; where that is not possible they are fresh ones.
    """

    def __init__(
        self,
        jobs: list[Job],
        parallel: int,
        environment: Mapping[str, str],
        ended: Callable[[Job, int, str], None] = lambda job, status, what: None,
        rank: int = 0,
        fork: bool = False,
    ) -> None:
        self.waiting, self.parallel, self.ended, self.rank = list(jobs), parallel, ended, rank
        self.environment = {**os.environ, **environment}
        self.running: list[Process] = []
        self.failed: dict[Path, int] = {}  # folders with exit statuses
        self.interrupted: list[Path] = []
        self.stopping = False
        self._next_beat = 0.0
        self._server = ForkServer(self.environment) if fork else None

    def work(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start, watch and collect the processes until none is left; none outlives this call.

        ``meanwhile`` is called several times a second; where it sets ``stopping``, what runs is asked to stop, which
        makes it write a checkpoint, and nothing more is started.
        """
        try:
            while self.running or (self.waiting and not self.stopping):
                self._start()
                self._collect()
                self._beat()
                meanwhile()
                time.sleep(0.05)
        finally:
            self._end()

    def stop(self) -> None:
        """Ask what runs to stop, and start nothing more; ``work`` returns when the last of them has stopped."""
        self.stopping = True
        for process in self.running:
            process.popen.terminate()

    def _start(self) -> None:
        """Start what can start, and give up what waits for a run that has failed."""
        pending = {job.folder for job in self.waiting} | {process.job.folder for process in self.running}
        for job in [] if self.stopping else list(self.waiting):
            if job.after in self.failed:
                self.waiting.remove(job)
                self._fail(job, FAILED, f"not run, because its stage one {job.after.name} failed")
            elif job.after not in pending and len(self.running) < self.parallel:
                self.waiting.remove(job)
                self._launch(job)

    def _launch(self, job: Job) -> None:
        try:
            log = self._log(job).open("ab")
        except OSError as error:  # somebody has deleted the folder, or the disk is full: the others go on
            self._fail(job, FAILED, f"{self._log(job)} cannot be written ({error.strerror})")
            return
        with log:
            popen = self._fork(job) or self._fresh(job, log)
        self.running.append(Process(job, popen, time.monotonic()))
        self._next_beat = 0.0

    def _fork(self, job: Job) -> ForkedProcess | None:
        if self._server is None:
            return None
        try:
            return self._server.start(job.folder, self._log(job))
        except ServerLost:
            self._server = None
            return None

    def _fresh(self, job: Job, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lt_bench.launch.job", str(job.folder)]
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,  # Ctrl-C reaches the pool, which passes it on
            preexec_fn=follow_parent,
        )

    def _collect(self) -> None:
        """Take note of the processes that have ended."""
        for process, status in [(one, one.popen.poll()) for one in self.running]:
            if status is None:
                continue
            self.running.remove(process)
            job = process.job
            self._at_rest(job)
            if status == DONE:
                self.ended(job, status, "done")
            elif status == INTERRUPTED or self.stopping:
                self.interrupted.append(job.folder)
                self.ended(job, INTERRUPTED, "interrupted")
            else:
                said = f"failed ({_how(status)}): {_last_line(self._log(job))}"
                self._fail(job, status, said, process.popen.pid)

    def _fail(self, job: Job, status: int, what: str, pid: int | None = None) -> None:
        """Note a failure, also in the folder where the process had no time to do it itself."""
        self.failed[job.folder] = status
        self.ended(job, status, what)
        if self.rank:
            return
        self._at_rest(job)
        known = read_json(job.folder / "status.json")
        others = known.get("state") == "running" and known.get("pid") != pid
        if known.get("state") != "failed" and not others:
            with suppress(OSError):
                write_json(job.folder / "status.json", {**known, "state": "failed", "error": what})

    def _log(self, job: Job) -> Path:
        return job.folder / (f"log.{self.rank}.txt" if self.rank else LOG)

    def _beat(self) -> None:
        """Show that what runs or waits is in hand: a file whose time of change is renewed again and again."""
        if self.rank == 0 and time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + HEARTBEAT_S
            for job in (*(process.job for process in self.running), *self.waiting):
                with suppress(OSError):
                    (job.folder / HEARTBEAT).touch()

    def _at_rest(self, job: Job) -> None:
        """Take away the sign that a job is in hand."""
        if self.rank == 0:
            with suppress(OSError):
                (job.folder / HEARTBEAT).unlink(missing_ok=True)

    def _end(self) -> None:
        """Ask what still runs to stop, and wait for it; an interruption meanwhile ends it at once."""
        for process in self.running:
            process.popen.terminate()
        try:
            for process in self.running:
                process.popen.wait()
        finally:
            for process in self.running:
                process.popen.kill()
            for job in (*(process.job for process in self.running), *self.waiting):
                self._at_rest(job)
            if self._server is not None:
                self._server.close()


def _how(status: int) -> str:
    return f"exit {status}" if status >= 0 else f"killed by signal {-status}"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        return f"its log cannot be read ({error.strerror})"
    return lines[-1] if lines else "it said nothing"
