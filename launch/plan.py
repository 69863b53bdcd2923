"""What a sweep would run: its grids expanded to runs, each checked, with what is done already."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Glob, Override
from omegaconf import OmegaConf

from lt_bench.compose import UsageError, compose, groups, parse
from lt_bench.config import Config
from lt_bench.preflight import settle
from lt_bench.record.folder import finished
from lt_bench.run_id import run_id, stage_one_id


class PlannedRun(NamedTuple):
    """One run of a sweep: what to type, its settled config, its identity and that of the stage one below it."""

    overrides: tuple[str, ...]
    config: Config
    identity: str
    stage_one: str

    @property
    def done(self) -> bool:
        """Whether its record is there and valid."""
        return finished(self.config.output_dir, self.identity) is not None

    @property
    def stage_one_done(self) -> bool:
        """Whether the record of the stage one below is there and valid."""
        return finished(self.config.output_dir, self.stage_one) is not None


def describe(config: Config) -> str:
    """One line on a run: its identity, its stage one, and what is done."""
    identity, below = run_id(config), stage_one_id(config)
    states = ["done" if finished(config.output_dir, name) else "to do" for name in (identity, below)]
    return f"run {identity} ({states[0]}) on stage one {below} ({states[1]}) in {config.output_dir}"


def plan(overrides: Sequence[str]) -> list[PlannedRun]:
    """All runs of a sweep, each once, in the order of the words; raises UsageError before anything is run."""
    runs: dict[str, PlannedRun] = {}
    for words in expand(overrides):
        config = settle(compose(words))
        identity = run_id(config)
        runs.setdefault(identity, PlannedRun(tuple(words), config, identity, stage_one_id(config)))
    return list(runs.values())


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Every combination of the words' values, times every grid under ``sweep`` in the chosen experiment.

    A key on the command line beats the same key in a grid.
    """
    parsed = parse(overrides)
    fixed = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
    grids: list[dict[str, Any]] = OmegaConf.to_container(compose(fixed).sweep) or [{}]  # type: ignore[assignment]
    typed = {override.key_or_group for override in parsed}
    combinations = []
    for grid in grids:
        axes = parse(f"{key}={value}" for key, value in grid.items() if key not in typed)
        combinations += [list(words) for words in itertools.product(*map(_values, [*axes, *parsed]))]
    return combinations


def _values(override: Override) -> list[str]:
    """The single-valued overrides that a sweep override stands for."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    value = override.value()
    if isinstance(value, Glob):
        choices = groups().get(override.key_or_group, [])
        names = [c for c in choices if _matches(c, value.include) and not _matches(c, value.exclude)]
        if not names:
            raise UsageError(f"{override.input_line}: no choice of {override.key_or_group} matches")
        return [f"{override.key_or_group}={name}" for name in names]
    return [f"{override.get_key_element()}={text}" for text in override.sweep_string_iterator()]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
