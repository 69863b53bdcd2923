"""Runs that were begun with other versions of the user's own code: none goes on, or is left behind, without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.config.own_code import OwnCode
from lt_bench.config.schema import Config
from lt_bench.errors import UsageError
from lt_bench.files import read_json, write_json
from lt_bench.record.identity import identities
from lt_bench.record.own_code import OWN_CODE, all_sources, any_version, present_versions, versions

CODE = "own_code.json"  # in the folders of runs with own code
CHECKPOINT, RECORD = "checkpoint.pt", "record.json"


class _Begun(NamedTuple):
    """A run that was begun: its folder, its identity but for own code, and the code that it was begun with."""

    folder: Path
    but_for_code: str
    versions: dict[str, str]
    sources: dict[str, str]

    @property
    def is_open(self) -> bool:
        """Whether there is something to go on with."""
        return (self.folder / CHECKPOINT).exists() and not (self.folder / RECORD).exists()

    def age(self) -> float:
        """The time of its last checkpoint."""
        return (self.folder / CHECKPOINT).stat().st_mtime


def note_own_code(config: Config, folder: Path) -> None:
    """Write the versions of own code that a run is known by into its folder; nothing where it has none."""
    if (known := versions(config)) and not (folder / CODE).exists():
        alike = dict(zip(identities(config), identities(_any(config)), strict=True))
        values = {"but_for_code": alike[folder.name], "versions": known, "sources": all_sources(config)}
        write_json(folder / CODE, values)


def refuse_edited(config: Config) -> None:
    """Raise UsageError where a run, or its stage one, was begun with another version of own code and is not done.

    The message has the words to go on with it under the code as it is now, and those to start anew. What is begun or
    done with the present version is not asked about. A version that is typed is the present one, or that of a run in
    the same folder.
    """
    now, folder = present_versions(config), Path(config.output_dir).expanduser()
    if not now:
        return
    pairs = list(zip(identities(config), identities(_any(config)), strict=True))
    begun = list(_begun(folder))
    if typed := {stage: version for stage, version in asdict(config.own_code).items() if version}:
        _refuse_unknown(typed, now, begun, folder)
        return
    if _has_begun(folder / pairs[0][0]):
        return
    open_ones = {alike for own, alike in pairs if not _has_begun(folder / own)}
    others = [one for one in begun if one.but_for_code in open_ones and one.is_open]
    if others:
        raise UsageError(_question(max(others, key=_Begun.age), now, all_sources(config)))


def _refuse_unknown(typed: Mapping[str, str], now: Mapping[str, str], begun: list[_Begun], folder: Path) -> None:
    for stage, version in typed.items():
        known = {now.get(stage), *(one.versions.get(f"{OWN_CODE}.{stage}") for one in begun)}
        if version not in known:
            there = ", ".join(sorted(filter(None, known)))
            raise UsageError(f"{OWN_CODE}.{stage}={version}: no such run was begun in {folder}; it takes {there}")


def _question(begun: _Begun, now: Mapping[str, str], sources: Mapping[str, str]) -> str:
    changed = [name for name in sorted({*sources, *begun.sources}) if sources.get(name) != begun.sources.get(name)]
    before = {stage: begun.versions.get(f"{OWN_CODE}.{stage}") for stage in now}
    go_on = " ".join(f"{OWN_CODE}.{stage}={version}" for stage, version in before.items() if version)
    anew = " ".join(f"{OWN_CODE}.{stage}={version}" for stage, version in now.items())
    return (
        f"{begun.folder} was begun with other code ({', '.join(changed)}: changed since) and is not done; add {go_on} "
        f"to go on with it under the code as it is now, or {anew} to start anew"
    )


def recorded(config: Config) -> dict[str, Any]:
    """What a record says of own code: the checksums of its sources, and whether they are not those of its version."""
    known = versions(config)
    if not known:
        return {}
    now = {f"{OWN_CODE}.{stage}": value for stage, value in present_versions(config).items()}
    return {OWN_CODE: all_sources(config), "own_code_changed": known != now}


def _begun(output_dir: Path) -> Iterator[_Begun]:
    """The runs in a folder, begun or done, that have own code."""
    for file in output_dir.glob(f"*/{CODE}"):
        values = read_json(file)
        known, sources = values.get("versions"), values.get("sources")
        if isinstance(known, Mapping) and isinstance(sources, Mapping):
            yield _Begun(file.parent, str(values.get("but_for_code")), dict(known), dict(sources))


def _has_begun(folder: Path) -> bool:
    return any((folder / name).exists() for name in (CHECKPOINT, RECORD))


def _any(config: Config) -> Config:
    return replace(config, own_code=OwnCode(**any_version(config)))
