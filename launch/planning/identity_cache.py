"""Which runs words stand for, kept beside them: a sweep that was carried out once need not be composed again.

Identities are a function of the words, of the files in conf/ and of the package's source; the memory holds for exactly
these files, and runs that depend on others, such as classes from elsewhere or lists of images, are not kept in it.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from lt_bench.config.schema import Config, flat
from lt_bench.data.source import known_by_content
from lt_bench.files import write_json

from ..submission import read_json

Identities = tuple[str, str]  # of a run and of the stage one below it


def cached_identities(output_dir: str) -> dict[str, Identities]:
    """Identities by words (joined as for a shell); empty where nothing is kept for the files as they are now."""
    kept = read_json(_path(output_dir))
    if kept.get("files") != fingerprint():
        return {}
    return {words: (run, stage_one) for words, (run, stage_one) in kept["runs"].items()}


def cache_identities(output_dir: str, runs: Mapping[tuple[str, ...], Identities], configs: Iterable[Config]) -> None:
    """Keep the identities of runs by their words, unless some of their configs depend on files of the user."""
    known = cached_identities(output_dir)
    new = {shlex.join(words): identities for words, identities in runs.items()}
    if new.keys() - known.keys() and all(map(_depends_on_ours_alone, configs)):
        write_json(_path(output_dir), {"files": fingerprint(), "runs": known | new})


@cache
def fingerprint() -> str:
    """A hash of everything that identities depend on beside the words."""
    digest = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
    folders = {Path(str(files(name))) for name in ("lt_bench", "lt_bench.conf", "lt_bench.launch")}
    for folder in sorted(folders):
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
            content = path.read_bytes()
            digest.update(f"{path} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _depends_on_ours_alone(config: Config) -> bool:
    """Whether words stand for the same identity while our files stay: lists and weights count by their content."""
    targets = (value for key, value in flat(asdict(config)).items() if key.endswith("_target_"))
    others = (config.dataset.split_dir, config.backbone.get("pretrained"))
    ours = all(str(target).startswith("lt_bench.") for target in targets)
    return ours and others == (None, None) and not known_by_content(config)


def _path(output_dir: str) -> Path:
    return Path(output_dir).expanduser() / "launch" / "plan.json"
