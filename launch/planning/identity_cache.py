"""A cache of the identities of runs by their overrides: a sweep that was submitted once is not composed again.

Identities are a function of the overrides, of the files in conf/ and of the package's source. The cache is valid for
exactly these files. Runs that depend on others, such as the user's own classes or lists of images, are not cached.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from lt_bench.config.own_files import cached, own_folders
from lt_bench.config.schema import Config
from lt_bench.config.trust import own_targets
from lt_bench.data.content import depends_on_files
from lt_bench.files import read_json, write_json
from lt_bench.record.identity import names_files

PACKAGES = ("hydra-core", "omegaconf", "torch", "torchvision")
NETWORKS = "timm"  # by its version, of those alone who have it: what a name without weights stands for
Identities = tuple[str, str]  # of a run and of its stage one


def cached_identities(output_dir: str) -> dict[str, Identities]:
    """Identities by overrides (joined as for a shell); empty where nothing is cached for the files as they are now."""
    cached = read_json(_path(output_dir))
    runs = cached.get("runs")
    if cached.get("files") != fingerprint() or not isinstance(runs, dict):
        return {}
    return {overrides: (found[0], found[1]) for overrides, found in runs.items() if _are_identities(found)}


def _are_identities(found: Any) -> bool:
    """Whether a cached value is two identities: they become folders, and the file may be anybody's."""
    return isinstance(found, list) and len(found) == 2 and all(re.fullmatch("[0-9a-f]{12}", str(one)) for one in found)


def cache_identities(output_dir: str, runs: Mapping[tuple[str, ...], Identities], configs: Iterable[Config]) -> None:
    """Cache the identities of runs by their overrides, unless some of their configs depend on files of the user."""
    known = cached_identities(output_dir)
    new = {shlex.join(overrides): identities for overrides, identities in runs.items()}
    if new.keys() - known.keys() and all(map(_depends_on_our_files_only, configs)):
        with suppress(OSError):  # a cache
            write_json(_path(output_dir), {"files": fingerprint(), "runs": known | new})


@cached
def fingerprint() -> str:
    """A hash of everything that identities depend on beside the overrides."""
    versions = [*map(version, PACKAGES)]
    with suppress(PackageNotFoundError):
        versions.append(version(NETWORKS))
    digest = hashlib.sha256(" ".join(versions).encode())
    folders = {Path(str(files(name))) for name in ("lt_bench", "lt_bench.conf", "lt_bench.launch")}
    for folder in sorted(folders.union(own_folders())):
        found = [*folder.rglob("*.py"), *folder.rglob("*.yaml")]
        for path in sorted(path for path in found if path.is_file()):  # to read a pipe would wait for ever
            content = path.read_bytes()
            digest.update(f"{path} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _depends_on_our_files_only(config: Config) -> bool:
    """Whether the identity changes only with our files; lists, weights and features of texts count by their content."""
    return not own_targets(config) and not names_files(config) and not depends_on_files(config)


def _path(output_dir: str) -> Path:
    return Path(output_dir).expanduser() / "launch" / "plan.json"
