"""A few runs at a time, each in a process of its own: on this machine, and inside a job of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from lt_bench.command import DONE, FAILED, INTERRUPTED, printable
from lt_bench.files import read_bytes, read_json, write_json
from lt_bench.liveness import BEAT_S
from lt_bench.processes import without_place

from ..submission import HEARTBEAT, LOG, give_sign, is_for_cluster, more_memory
from .fork_server import ForkedProcess, ForkServer, follow_parent

POLL_S = 0.05
BEGINS = "lt_bench: "  # a message of a run, which may go on in further lines
LONGEST = 13  # lines: ten images, how many more there are, and what to do about them
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # the latter is what a shell makes of it
ENDED_EARLY = (INTERRUPTED, -signal.SIGTERM, -signal.SIGHUP)  # the signals before the run handles them


class Job(NamedTuple):
    """One run to carry out: its folder, which holds its submission, and the folder of the run it has to wait for.

    ``trust`` are the modules that whoever started it has named; the submission itself cannot ask for any.
    """

    folder: Path
    after: Path | None = None
    trust: tuple[str, ...] = ()


class Process(NamedTuple):
    """The process of a run."""

    job: Job
    popen: subprocess.Popen[bytes] | ForkedProcess
    started: float


class ProcessPool:
    """Runs at most ``parallel`` processes at a time; their output goes to log.txt in their run folders.

    ``ended`` is called with every job that has ended, its exit status and a message. A ``rank`` above 0 is one of
    several processes of the same run; only rank 0 writes the run's status and heartbeat. Where such processes meet
    stands in ``environment`` alone: what a launcher left in that of this process does not reach them. With ``fork``
    the processes are forks of one that has imported PyTorch; where that is not possible they are new ones.
    """

    def __init__(
        self,
        jobs: list[Job],
        parallel: int,
        environment: Mapping[str, str],
        ended: Callable[[Job, int, str], None] = lambda job, status, message: None,
        rank: int = 0,
        fork: bool = False,
    ) -> None:
        self.waiting, self.parallel, self.ended, self.rank = list(jobs), parallel, ended, rank
        self.environment = {**without_place(os.environ), **environment}
        self.running: list[Process] = []
        self.failed: dict[Path, int] = {}  # folders with exit statuses
        self.interrupted: list[Path] = []
        self.stopping = False
        self._next_heartbeat = 0.0
        self.fork = fork
        self._server: ForkServer | None = None

    def work(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start and collect processes until all have ended; no process is left running when this returns.

        ``meanwhile`` is called several times a second; it may call ``stop``.
        """
        try:
            while self.running or (self.waiting and not self.stopping):
                self._collect()
                self._start()
                self._touch_heartbeats()
                meanwhile()
                self._wait()
        finally:
            self._shut_down()

    def stop(self) -> None:
        """Terminate the running processes, which write a checkpoint, and start no more; ``work`` returns after them."""
        self.stopping = True
        for process in self.running:
            process.popen.terminate()

    def _wait(self) -> None:
        """A twentieth of a second, or until the fork server has news: tiny runs take hardly longer."""
        if self._server is None:
            time.sleep(POLL_S)
        else:
            self._server.wait(POLL_S)

    def _start(self) -> None:
        """Start the jobs that can start; fail those that wait for a run that has failed."""
        pending = {job.folder for job in self.waiting} | {process.job.folder for process in self.running}
        for job in [] if self.stopping else list(self.waiting):
            if job.after in self.failed:
                self.waiting.remove(job)
                self._fail(job, FAILED, f"not run, because its stage one {job.after.name} failed")
            elif job.after not in pending and len(self.running) < self.parallel:
                self.waiting.remove(job)
                self._start_process(job)

    def _start_process(self, job: Job) -> None:
        try:
            log = self._log(job).open("ab")
        except OSError as error:  # the folder was deleted, or the disk is full: the other runs go on
            self._fail(job, FAILED, f"{self._log(job)} cannot be written ({error.strerror})")
            return
        with log:
            popen = self._fork(job) or self._start_new(job, log)
        self.running.append(Process(job, popen, time.monotonic()))
        self._next_heartbeat = 0.0

    def _fork(self, job: Job) -> ForkedProcess | None:
        if not self.fork:
            return None
        if self._server is None:
            self._server = ForkServer(self.environment, job.folder.parent)
        return self._server.start(job.folder, self._log(job), job.trust)

    def _start_new(self, job: Job, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lt_bench.launch.job", str(job.folder), *job.trust]
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,  # Ctrl-C reaches this process alone, which terminates the others
            preexec_fn=follow_parent,
        )

    def _collect(self) -> None:
        """Remove the processes that have exited and report their jobs."""
        for process, status in [(one, one.popen.poll()) for one in self.running]:
            if status is None:
                continue
            self.running.remove(process)
            job = process.job
            if isinstance(process.popen, ForkedProcess) and process.popen.lost and not self.stopping:
                self.fork = False
                self.waiting.insert(0, job)  # a new process, which waits until what is left of this one has saved
                continue
            self._remove_heartbeat(job)
            if status == DONE:
                self.ended(job, status, "done")
            elif self.stopping or status in ENDED_EARLY:
                self.interrupted.append(job.folder)
                self.ended(job, INTERRUPTED, "interrupted")
            else:
                said = _last_said(self._log(job))  # before a reason is added to it
                message = f"failed ({self._reason(job, status)}): {said}"
                self._fail(job, status, message, process.popen.pid)

    def _fail(self, job: Job, status: int, message: str, pid: int | None = None) -> None:
        """Record a failure; also in the run folder, unless the run or another process has written its state there."""
        self.failed[job.folder] = status
        self.ended(job, status, message)
        if self.rank:
            return
        self._remove_heartbeat(job)
        known = read_json(job.folder / "status.json")
        runs_elsewhere = known.get("state") == "running" and known.get("pid") != pid
        if known.get("state") != "failed" and not runs_elsewhere:
            with suppress(OSError):
                killed = {"killed": True} if status in KILLED else {}
                write_json(job.folder / "status.json", {**known, "state": "failed", "error": message, **killed})

    def _reason(self, job: Job, status: int) -> str:
        """What an exit status says; a kill that nobody asked for is most often the system's, which lacks memory."""
        if status not in KILLED:
            return f"exit {status}" if status >= 0 else f"killed by signal {-status}"
        advice = more_memory(job.folder) if is_for_cluster(job.folder) else "lower launch.parallel_runs"
        if "SLURM_JOB_ID" in self.environment and not is_for_cluster(job.folder):
            advice += ", or ask for more memory where the allocation is made (salloc --mem)"
        said = f"killed by signal 9, perhaps for memory; {advice}"
        with suppress(OSError), self._log(job).open("a", encoding="utf-8") as log:
            log.write(f"lt_bench: {said}\n")
        return said

    def _log(self, job: Job) -> Path:
        return job.folder / (f"log.{self.rank}.txt" if self.rank else LOG)

    def _touch_heartbeats(self) -> None:
        """Renew the heartbeat file of every running and waiting job."""
        if self.rank == 0 and time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + BEAT_S
            for job in (*(process.job for process in self.running), *self.waiting):
                with suppress(OSError):
                    give_sign(job.folder)

    def _remove_heartbeat(self, job: Job) -> None:
        if self.rank == 0:
            with suppress(OSError):
                (job.folder / HEARTBEAT).unlink(missing_ok=True)

    def _shut_down(self) -> None:
        """Terminate the processes that are left and wait for them; an interruption meanwhile kills them."""
        for process in self.running:
            process.popen.terminate()
        try:
            for process in self.running:
                process.popen.wait()
        finally:
            for process in self.running:
                process.popen.kill()
            for job in (*(process.job for process in self.running), *self.waiting):
                self._remove_heartbeat(job)
            if self._server is not None:
                self._server.close()


def _last_said(log: Path) -> str:
    """The last message of a run in its log, of a long one the ends; of a traceback and other output the last line."""
    try:
        lines = read_bytes(log).decode("utf-8", errors="replace").strip().splitlines()
    except OSError as error:
        return f"its log cannot be read ({error.strerror})"
    start = max((place for place, line in enumerate(lines) if line.startswith(BEGINS)), default=len(lines) - 1)
    said = lines[start:]
    if len(said) > LONGEST or any(line.startswith("Traceback") for line in said):
        said = said[-1:]
    elif len(said) > 3:
        said = [said[0], f"{len(said) - 2} more lines", said[-1]]
    return printable("; ".join(said)) if said else "no output"
