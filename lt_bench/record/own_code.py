"""The user's own code by its content: the sources of every ``_target_`` outside the package, read and never run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lt_bench.config.schema import Config
from lt_bench.config.signatures import TargetError, defined_in, holds_libraries, home_of, imported_by, module_file
from lt_bench.config.stages import StageName, stage_of
from lt_bench.config.trust import PACKAGE, own_targets
from lt_bench.files import MOST, read_bytes

OWN_CODE = "own_code"  # the key of configs, identities and records


class _Source(NamedTuple):
    sha256: str
    imports: frozenset[str]


def versions(config: Config) -> dict[str, str]:
    """The versions of own code that a run is known by, by the keys of an identity; empty where a run has none.

    A version is typed, or the first 12 hexadecimal digits of a SHA-256 over the sources of a stage.
    """
    typed, now = asdict(config.own_code), present_versions(config)
    return {f"{OWN_CODE}.{stage}": typed[stage] or digest for stage, digest in now.items()}


def present_versions(config: Config) -> dict[str, str]:
    """The version of own code as its files are now, by stage."""
    found: dict[str, dict[str, str]] = {}
    for key, target in own_targets(config):
        found.setdefault(stage_of(key).key, {}).update(sources(target))
    return {stage: _digest(files) for stage, files in sorted(found.items())}


def all_sources(config: Config) -> dict[str, str]:
    """SHA-256 of every module of own code that a run uses, by name."""
    return {module: digest for _, target in own_targets(config) for module, digest in sorted(sources(target).items())}


def sources(target: str) -> dict[str, str]:
    """SHA-256 of the module that a target names or is defined in, and of all modules beside it that these import.

    Beside it are modules whose first name lies in the same folder; of an installed package only its own. Imports are
    those that stand in the sources: what is imported by a name that is made up while running is not seen.
    """
    top = target.partition(".")[0]
    home, found = home_of(top), dict[str, str]()
    try:
        waiting = [target.rpartition(".")[0], defined_in(target)]
    except TargetError:
        return {}
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for module in (".".join(parts[: end + 1]) for end in range(len(parts))):  # Python runs its packages first
            path = module_file(module) if module not in found and _is_beside(module, top, home) else None
            if path is not None:
                status = path.stat()
                source = _read(module, path, status.st_size, status.st_mtime_ns)
                found[module] = source.sha256
                waiting += source.imports
    return found


def described(config: Config) -> str:
    """The modules of own code that a run names, with their files, for whoever starts it; empty where there are none."""
    modules = {target.rpartition(".")[0] for _, target in own_targets(config, deciding=False)}
    return ", ".join(f"{module} ({module_file(module)})" for module in sorted(modules))


def _is_beside(module: str, top: str, home: Path | None) -> bool:
    first = module.partition(".")[0]
    return first == top or (
        first != PACKAGE and home is not None and home == home_of(first) and not holds_libraries(home)
    )


@cache
def _read(module: str, path: Path, size: int, changed: int) -> _Source:
    """A source's checksum and imports, read once while the file stays the same."""
    content = read_bytes(path, MOST)
    try:
        imports = imported_by(module)
    except TargetError:  # no valid Python: what imports it will say so
        imports = set()
    return _Source(hashlib.sha256(content).hexdigest(), frozenset(imports))


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]


def any_version(config: Config) -> dict[str, str]:
    """Words for ``own_code`` that stand for any version, by stage: runs that differ in own code alone agree in them."""
    return {stage: "*" for stage in present_versions(config)}


STAGE_TWO = f"{OWN_CODE}.{StageName.TWO.key}"  # what no encoder depends on
