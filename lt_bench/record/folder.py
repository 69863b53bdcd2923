"""The run folder: lock, status, frozen config and environment of one run."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from lt_bench.config.schema import Config, plain
from lt_bench.config.stages import StageName
from lt_bench.errors import UsageError
from lt_bench.files import write_atomic, write_json
from lt_bench.record.edited import note_own_code
from lt_bench.record.identity import run_id
from lt_bench.record.record import RunRecord, read_record

PACKAGES = ("torch", "numpy", "scikit-learn", "hydra-core", "omegaconf")


class RunFolder:
    """Context: one process at a time works in ``<output_dir>/<run id>/``.

    Only a process with ``writes`` (rank 0) locks and writes; the other ranks read.  Raises UsageError where the folder
    cannot be written, and where another process holds its lock. With ``wait`` the lock is waited for instead, after
    ``wait`` was called with the identity.
    """

    def __init__(
        self, config: Config, identity: str, writes: bool = True, wait: Callable[[str], None] | None = None
    ) -> None:
        self.path = Path(config.output_dir).expanduser() / identity
        self.config, self.identity, self.writes, self.wait = config, identity, writes, wait
        self._lock = FileLock(self.path / "lock")

    def __enter__(self) -> RunFolder:
        if not self.writes:
            return self
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._acquire()
            if not finished(self.config.output_dir, self.identity):  # the files of a finished run are kept
                write_atomic(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plain(self.config))))
                write_json(self.path / "environment.json", environment())
                note_own_code(self.config, self.path)
        except OSError as error:
            self._lock.release()
            reason = error.strerror or error
            raise UsageError(
                f"cannot write into {self.path} ({reason}); choose another folder with output_dir=DIR"
            ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._lock.release()

    def status(self, state: str, **details: Any) -> None:
        """Write status.json: running, done, failed or interrupted, with process, host and time."""
        if self.writes:
            stage = StageName.TWO if self.identity == run_id(self.config) else StageName.ONE
            origin = {"pid": os.getpid(), "host": socket.gethostname(), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            write_json(self.path / "status.json", {"state": state, "kind": stage.kind, **origin, **details})

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            if self.wait is None:
                raise UsageError(
                    f"another process is working on run {self.identity} (see {self.path / 'status.json'}); "
                    "wait for it, or choose another folder with output_dir=DIR"
                ) from None
            self.wait(self.identity)
            self._lock.acquire()


def finished(output_dir: str, identity: str) -> tuple[RunRecord, Path] | None:
    """The valid record of a run and the run's folder; None where the run is not done."""
    folder = Path(output_dir).expanduser() / identity
    try:
        record = read_record(folder / "record.json")
    except (OSError, ValueError):
        return None
    return (record, folder) if record.run_id == identity else None


def environment() -> dict[str, Any]:
    """Versions, machine and, for a checkout, the commit and a hash of the changes to it."""
    found: dict[str, Any] = {name: version(name) for name in PACKAGES}
    found |= {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    return {**found, **code_version()}


def code_version() -> dict[str, Any]:
    """The version of the code and, for a checkout, its commit, whether tracked files differ, and a hash of the diff."""
    found: dict[str, Any] = {"lt_bench": version("lt_bench"), "git_commit": None, "git_dirty": None, "git_diff": None}
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        try:
            commit = _git(root, "rev-parse", "HEAD").decode().strip()
            difference = _git(root, "diff", "--no-ext-diff", "HEAD")
        except (OSError, CalledProcessError):
            return found
        digest = hashlib.sha256(difference).hexdigest() if difference else None
        found |= {"git_commit": commit, "git_dirty": bool(difference), "git_diff": digest}
    return found


def _git(root: Path, *arguments: str) -> bytes:
    return check_output(["git", "-C", str(root), *arguments], stderr=DEVNULL)
