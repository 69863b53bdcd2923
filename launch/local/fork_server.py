"""A process that imports PyTorch once and forks a process for every run: a sweep of small runs is mostly imports.

Every run has a process of its own as before: its memory, seeds and threads are its own, and a crash or a kill costs one
run. The server computes nothing and initialises no CUDA, so that its forks may do both.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from lt_bench.machine import wait_briefly

# What PyTorch, NumPy and we import only when a run comes to it, beside the parts of augmented views.
NEEDED = (
    *("lt_bench.run.stages", "lt_bench.engine.allocator"),
    *("numpy.ma", "numpy.random", "torch.utils.serialization.config"),
    *("numpy.ctypeslib", "torch.utils._device", "safetensors.torch"),  # of the predictor that a run leaves
)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


class ForkedProcess:
    """A run's process, with the part of ``subprocess.Popen`` that the pool uses.

    It has no ``pid`` while the server still imports; ``lost`` says that the server has exited before the process did.
    """

    def __init__(self, server: ForkServer) -> None:
        self.server = server
        self.pid: int | None = None
        self.returncode: int | None = None
        self.lost = False
        self._wanted: signal.Signals | None = None  # sent as soon as there is a process

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs or is to start."""
        if self.returncode is None:
            self.server.collect()
        return self.returncode

    def wait(self) -> int:
        """Wait for the process to exit; returns its status."""
        while (status := self.poll()) is None:
            time.sleep(0.02)
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal(signal.SIGKILL)

    def started(self, pid: int) -> None:
        """Take note of the process, and send it the signal that came before it."""
        self.pid = pid
        if self._wanted is not None:
            self._signal(self._wanted)

    def _signal(self, number: signal.Signals) -> None:
        if self.poll() is not None:
            return
        if self.pid is None and not self.server.forked:
            self.server.popen.terminate()  # it still imports, and nobody need wait for that
        elif self.pid is None:
            self._wanted = number
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """The pool's side: starts the server with an environment, asks it for forks, learns how they exited.

    Nothing here waits for the server, which may need minutes to import on a busy file system.
    """

    def __init__(self, environment: Mapping[str, str], output_dir: Path) -> None:
        self.asked: list[ForkedProcess] = []  # in the order in which they will start
        self.forked: dict[int, ForkedProcess] = {}
        self.popen = subprocess.Popen(
            # the folder is for whoever looks at the list of processes
            [sys.executable, "-m", "lt_bench.launch.local.fork_server", str(output_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=follow_parent,
        )
        self._unread = b""

    def start(self, folder: Path, log: Path, trust: Sequence[str] = ()) -> ForkedProcess:
        """A process that will carry out the run submitted in a folder and print to a log; see ``Job`` for ``trust``."""
        assert self.popen.stdin is not None
        process = ForkedProcess(self)
        self.asked.append(process)
        with suppress(OSError):  # of a server that has exited: the process is found to be lost
            self.popen.stdin.write(json.dumps([str(folder), str(log), *trust]).encode() + b"\n")
            self.popen.stdin.flush()
        return process

    def collect(self) -> None:
        """Take note of processes that have started and exited; those of a server that has exited count as killed."""
        lost = self.popen.poll() is not None  # before its last answers are read
        while (answer := self._read()) is not None:
            if "started" in answer:
                process = self.forked[answer["started"]] = self.asked.pop(0)
                process.started(answer["started"])
            elif known := self.forked.pop(answer["exited"], None):
                known.returncode = answer["status"]
        if lost:
            for process in (*self.asked, *self.forked.values()):
                process.lost, process.returncode = True, -signal.SIGKILL
            self.asked.clear()
            self.forked.clear()

    def wait(self, seconds: float) -> None:
        """Return when a process has started or exited, or after so many seconds."""
        assert self.popen.stdout is not None
        alive = self.popen.poll() is None  # or else it has nothing more to say
        select.select([self.popen.stdout] if alive else [], [], [], seconds)

    def close(self) -> None:
        """Let the server exit; to be called when its processes have."""
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self.popen.wait()

    def _read(self) -> dict[str, int] | None:
        """The next answer; None where there is none yet, or none will come."""
        assert self.popen.stdout is not None
        while b"\n" not in self._unread:
            descriptor = self.popen.stdout.fileno()
            if not select.select([descriptor], [], [], 0)[0]:
                return None
            block = os.read(descriptor, 4096)
            if not block:
                return None
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, int] = json.loads(line)
        return answer


def follow_parent() -> None:
    """In a new process: ignore a cluster's warning until the run listens to it, and get SIGTERM when the parent exits.

    A cluster sends its warning to every process of a job, and its default is to end the process. Where the parent is
    killed, the run is asked to stop (Linux can do that), so that nobody trains on unseen.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def serve() -> None:
    """Import what a run needs, then fork for every line on standard input, until that is closed."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an import prints is no answer
    wait_briefly()
    import torch

    import_what_every_run_needs()
    if torch.cuda.is_initialized():  # a fork of such a process cannot use CUDA
        return
    wake, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    unread = b""
    while True:
        ready, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _reap(answers)
        if sys.stdin.fileno() in ready:
            block = os.read(sys.stdin.fileno(), 65536)
            if not block:
                return
            *lines, unread = (unread + block).split(b"\n")
            for line in lines:
                folder, log, *trust = json.loads(line)
                import_parts(Path(folder))
                gc.freeze()  # pages stay shared with the forks
                pid = _fork(Path(folder), Path(log), trust, (answers, wake, signalled))
                _tell(answers, {"started": pid})


def import_what_every_run_needs() -> None:
    """Import it, and find out what is the same for all runs: the version of the code that is imported, the schema."""
    from lt_bench import augment
    from lt_bench.config.schema import schema
    from lt_bench.record.folder import environment

    from .. import job  # noqa: F401

    views = (f"{augment.__name__}.{module.name}" for module in iter_modules(augment.__path__))
    for name in (*NEEDED, *views):
        import_module(name)
    environment()
    schema()


def import_parts(folder: Path) -> None:
    """Import the classes of ours that a run names, and read their signatures, for it and for those after it.

    A user's own class waits for the fork: what it does when it is imported, or fails to do, is that run's alone.
    """
    from lt_bench.config.signatures import parameters
    from lt_bench.config.trust import is_own
    from lt_bench.files import read_json

    from ..submission import SUBMISSION

    for target in _targets(read_json(folder / SUBMISSION)):
        if not is_own(target):
            with suppress(Exception):  # the run will say what is wrong
                parameters(target)
                import_module(target.rpartition(".")[0])


def _targets(tree: Any) -> Iterator[str]:
    """The classes that the nodes of a config name."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == "_target_" and isinstance(value, str):
                yield value
            else:
                yield from _targets(value)


def _fork(folder: Path, log: Path, trust: Sequence[str], private: tuple[int, ...]) -> int:
    """A new process for a run; returns its identity in the server, and never in the new process."""
    server = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        follow_parent()
        if os.getppid() != server:
            os._exit(1)
        for descriptor in private:
            os.close(descriptor)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(source, target)
        from ..job import main

        status = main(folder, trust)
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _reap(answers: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell(answers, {"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(answers: int, answer: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve()
