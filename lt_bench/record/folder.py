"""The run folder: lock, status, frozen config and environment of one run."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Any

import yaml  # type: ignore[import-untyped]

from lt_bench.config.schema import Config, plain
from lt_bench.config.stages import StageName
from lt_bench.data.files.digests import UNREADABLE, digest_of
from lt_bench.errors import UsageError
from lt_bench.files import read_json, sweep, write_atomic, write_json
from lt_bench.liveness import SIGNS, this_process
from lt_bench.locks import Held, Lock
from lt_bench.record.edited import note_own_code
from lt_bench.record.identity import run_id, stage_one_id
from lt_bench.record.record import RunRecord, read_record

LOCK = "lock"
ENVIRONMENT, EARLIER = "environment.json", "earlier"  # versions that a run was trained under before those of today
# What decides pixels, initial weights and values of a config; of the last, networks of those alone who have it.
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "hydra-core", "omegaconf")
NETWORKS = "timm"
BEGUN = "begun_with"  # in environment.json: what was asked for when the run began


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
        self._lock = Lock(self.path / LOCK)

    def __enter__(self) -> RunFolder:
        if not self.writes:
            return self
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._acquire()
            sweep(self.path)
            if not finished(self.config.output_dir, self.identity):  # the files of a finished run are kept
                write_atomic(self.path / "config.yaml", _yaml(plain(self.config)))
                self._write_environment()
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
        """Write status.json: running, done, failed or interrupted, with process, host and time.

        A process whose lock was taken over writes nothing: the run is another one's.
        """
        if self.writes and not self._lock.lost:
            stage = StageName.TWO if self.identity == run_id(self.config) else StageName.ONE
            origin = {**this_process(), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            write_json(self.path / "status.json", {"state": state, "kind": stage.kind, **origin, **details})

    def earlier_versions(self) -> list[dict[str, Any]]:
        """Under which other versions the run was trained before it went on under those of today; [] for none."""
        earlier = read_json(self.path / ENVIRONMENT).get(EARLIER)
        return earlier if isinstance(earlier, list) else []

    def begun_with(self, name: str, value: int | None, goes_on: bool) -> int | None:
        """What stood for ``name`` when the run began: ``value``, unless it ``goes_on`` and had another one then."""
        values = read_json(self.path / ENVIRONMENT)
        begun = values.get(BEGUN)
        if goes_on and isinstance(begun, dict) and isinstance(before := begun.get(name, ""), (int, type(None))):
            return before
        if self.writes:
            write_json(self.path / ENVIRONMENT, {**values, BEGUN: {name: value}})
        return value

    def _write_environment(self) -> None:
        """Write environment.json; a checkpoint that other versions left is said, and they are kept in it."""
        now, path = environment(), self.path / ENVIRONMENT
        begun = read_json(path).get(BEGUN)
        if any(self.path.glob("checkpoint*.pt")):
            before, earlier = read_json(path), self.earlier_versions()
            for key in (EARLIER, BEGUN):
                before.pop(key, None)
            if changed := [key for key in now if key in before and before[key] != now[key]]:
                words = ", ".join(f"{key} {before[key]} -> {now[key]}" for key in changed)
                print(
                    f"lt_bench: run {self.identity} goes on under other versions than it began with, and its record "
                    f"says so: {words}; for one version throughout, delete {self.path} and start anew",
                    file=sys.stderr,
                )
                earlier = [*earlier, before]
            now |= {EARLIER: earlier} if earlier else {}
        write_json(path, now | ({} if begun is None else {BEGUN: begun}))

    def _acquire(self) -> None:
        waiting = None if self.wait is None else partial(self.wait, self.identity)
        # a dead machine may have left the next lock as well: what is looked at now is not waited for then
        SIGNS.moved(self.path.with_name(stage_one_id(self.config)) / LOCK)
        try:
            self._lock.acquire(waiting)
        except Held:
            raise UsageError(
                f"another process is working on run {self.identity} (see {self.path / 'status.json'}); "
                "wait for it, or choose another folder with output_dir=DIR"
            ) from None


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
    found: dict[str, Any] = {name: _version(name) for name in PACKAGES}
    with suppress(PackageNotFoundError):
        found[NETWORKS] = _version(NETWORKS)
    found |= {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    return {**found, **code_version()}


def code_version() -> dict[str, Any]:
    """The version of the code and, for a checkout, its commit, whether it differs, and a hash of the difference.

    It differs by changes of tracked files, and by files of the package that are not tracked, such as a new method.
    That of the process: what is edited after the first call is not what it runs.
    """
    return {"lt_bench": _version("lt_bench"), **_checkout(Path(__file__).parents[2])}


_version = cache(version)


@cache
def _checkout(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"git_commit": None, "git_dirty": None, "git_diff": None}
    if (root / ".git").exists():
        try:
            commit = _git(root, "rev-parse", "HEAD").decode().strip()
            difference = _git(root, "diff", "--no-ext-diff", "HEAD") + _added(root)
        except (OSError, CalledProcessError):
            return found
        digest = hashlib.sha256(difference).hexdigest() if difference else None
        found |= {"git_commit": commit, "git_dirty": bool(difference), "git_diff": digest}
    return found


def _added(root: Path) -> bytes:
    """The modules and config files of a checkout's package that are not tracked: paths and checksums of contents."""
    folders = ("lt_bench", "launch", "conf", "results/published")
    kinds = [f"{folder}/*.{kind}" for folder in folders for kind in ("py", "yaml")]
    found = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *kinds).split(b"\0")
    digests = ((path, digest_of(os.fsdecode(os.path.join(os.fsencode(root), path)))) for path in found if path)
    known = ((path, digest.sha256) for path, digest in digests if digest.sha256 != UNREADABLE)  # locks of editors
    return b"".join(path + f"\0{sha256}\0".encode() for path, sha256 in known)


def _yaml(values: dict[str, Any]) -> str:
    """Plain values as YAML, in their order; by libyaml where PyYAML has it, which takes a sixth of the time."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(values, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def _git(root: Path, *arguments: str) -> bytes:
    return check_output(["git", "-C", str(root), *arguments], stderr=DEVNULL)
