"""Runs that were begun with other versions of the user's own code: none goes on, or is left behind, without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.own_code import OwnCode
from lt_bench.config.schema import Config, node, schema
from lt_bench.config.yaml_text import parse_yaml
from lt_bench.errors import DataError, UsageError
from lt_bench.files import SMALL, read_json, read_text, write_json
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities
from lt_bench.record.own_code import OWN_CODE, all_sources, any_version, present_versions, versions
from lt_bench.record.record import RECORD

CODE = "own_code.json"  # in the folders of runs with own code
CHECKPOINTS = "checkpoint*.pt"  # the last one, or the one before it
NAMES = ("method", "backbone", "dataset")  # nodes that follow the name of a class since own code has versions


class _Begun(NamedTuple):
    """A run that was begun: its folder, its identity but for own code, and the code that it was begun with."""

    folder: Path
    but_for_code: str
    versions: dict[str, str]
    sources: dict[str, str]

    @property
    def is_open(self) -> bool:
        """Whether there is something to go on with."""
        return _is_open(self.folder)

    def age(self) -> float:
        """The time of its last checkpoint."""
        return max(path.stat().st_mtime for path in self.folder.glob(CHECKPOINTS))


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
    _refuse_of_older_version(config, folder, pairs[1][0])
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
    return (folder / RECORD).exists() or _is_open(folder)


def _is_open(folder: Path) -> bool:
    return any(folder.glob(CHECKPOINTS)) and not (folder / RECORD).exists()


def _refuse_of_older_version(config: Config, folder: Path, stage_one: str) -> None:
    """Raise UsageError where this run's stage one was begun before own code had versions, and is not done."""
    if _has_begun(folder / stage_one):
        return
    for place in sorted({path.parent for path in folder.glob(f"*/{CHECKPOINTS}")}):
        if _is_open(place) and not (place / CODE).exists() and _is_of(place, config):
            anew = " ".join(f"{OWN_CODE}.{stage}={version}" for stage, version in present_versions(config).items())
            raise UsageError(
                f"{place} was begun by an older version of lt_bench, which did not look at code of your own, and is "
                f"not done; rename it to {folder / stage_one} to go on with it under the code as it is now, or add "
                f"{anew} to start anew"
            )


def _is_of(folder: Path, config: Config) -> bool:
    """Whether the config in a folder is this one, in all that decides its stage one but own code and names."""
    try:
        values = parse_yaml(read_text(folder / "config.yaml", SMALL))
        for key in NAMES:
            values[key]["name"] = node(config, f"{key}.name")
        before = validate(OmegaConf.merge(schema(), values, {"trust": config.trust}), frozen=True)  # type: ignore[arg-type]
        return identities(_any(before))[1] == identities(_any(config))[1]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError, DataError, OmegaConfBaseException):
        return False  # no config of this version: another run


def _any(config: Config) -> Config:
    return replace(config, own_code=OwnCode(**any_version(config)))
