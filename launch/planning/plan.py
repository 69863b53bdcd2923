"""The runs of a sweep: its grids expanded, every run validated and identified."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from omegaconf import ListConfig, OmegaConf

from lt_bench.config.compose import compose, groups, parse, references, shown
from lt_bench.config.keys import affects_result
from lt_bench.config.own_files import cached
from lt_bench.config.schema import Config
from lt_bench.config.sweeps import MOST_RUNS
from lt_bench.data.content import looked_at_once
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate
from lt_bench.record.folder import finished
from lt_bench.record.identity import identities, identities_by_seed

from .identity_cache import Identities, cached_identities
from .variants import Variants


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: its overrides, its identity, that of its stage one, and the folder that holds both."""

    overrides: tuple[str, ...]
    identity: str
    stage_one: str
    output_dir: str

    @property
    def composed(self) -> Config | None:
        """The validated config, if it was composed already."""
        return vars(self).get("config")

    @cached_property
    def config(self) -> Config:
        """The validated config."""
        return validate(compose(self.overrides))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.output_dir).expanduser().absolute() / self.identity

    @property
    def done(self) -> bool:
        """Whether it has a valid record."""
        return finished(self.output_dir, self.identity) is not None

    @property
    def stage_one_folder(self) -> Path:
        """The run folder of its stage one."""
        return self.folder.with_name(self.stage_one)


def describe(config: Config) -> str:
    """One line on a run: its identity, its stage one, and which of them are done."""
    identity, stage_one = identities(config)
    states = ["done" if finished(config.output_dir, name) else "to do" for name in (identity, stage_one)]
    return f"run {identity} ({states[0]}) on stage one {stage_one} ({states[1]}) in {config.output_dir}"


@looked_at_once()
def plan(overrides: Sequence[str]) -> list[PlannedRun]:
    """All runs of a sweep, at least one, each once, in the order of the overrides; raises UsageError."""
    runs: dict[str, PlannedRun] = {}
    validated, known, output_dir = Variants(), dict[str, Identities](), ""
    for one_run in expand(overrides):
        try:
            if found := known.get(shlex.join(one_run)):
                run = PlannedRun(tuple(one_run), found[0], found[1], output_dir)
            else:
                run = _planned(one_run, *validated(one_run))
        except UsageError as error:
            raise UsageError(f"{error}\nin the run {shlex.join(one_run)}") from error
        if not runs:  # the first config says where runs and their cache are
            output_dir, known = run.output_dir, cached_identities(run.output_dir)
        runs.setdefault(run.identity, run)
    if not runs:
        raise UsageError(f"{shlex.join(overrides)} expands to no run; give every key at least one value")
    return list(runs.values())


def planned(overrides: Sequence[str], config: Config) -> PlannedRun:
    """The run of some overrides, with their validated config."""
    return _planned(overrides, config, identities_by_seed(config))


def _planned(overrides: Sequence[str], config: Config, of_seed: Callable[[int], tuple[str, str]]) -> PlannedRun:
    if config.search.name != "none":
        raise UsageError("what a search trains is not known before; type its words, search=optuna, after -m alone")
    run = PlannedRun(tuple(overrides), *of_seed(config.seed), config.output_dir)
    vars(run)["config"] = config
    return run


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every run: every combination of values, times every grid under ``sweep`` in the experiment.

    A grid maps keys to values as they are typed, for example ``seed: 0,1,2``. A key on the command line overrides the
    same key in a grid. Raises UsageError for several values of a key that does not affect the result, because they
    would all be one run.
    """
    typed = parse(overrides)
    keys = [override.key_or_group for override in typed]
    combinations: list[list[str]] = []
    for texts in _every(typed, 0):
        one_run = [text for key, text in zip(keys, texts, strict=True) if key != "sweep"]
        sources = [text for key, text in zip(keys, texts, strict=True) if key in ("experiment", "sweep")]
        for grid in _grids(tuple(sources)):
            axes = parse(f"{key}={shown(value)}" for key, value in grid.items() if key not in keys)
            # the overrides of one run contain no grid, even where its experiment has some
            end = [*one_run, "sweep=[]"] if grid or "sweep" in keys else one_run
            combinations += [[*values, *end] for values in _every(axes, len(combinations))]
    return combinations


def _every(axes: Sequence[Override], before: int) -> Iterator[tuple[str, ...]]:
    """Every combination of values; raises UsageError where they are too many, with those ``before`` them."""
    values = list(map(_values, axes))
    if before + (count := math.prod(map(len, values))) > MOST_RUNS:
        raise UsageError(
            f"the sweep names {before + count:,} runs or more, and takes {MOST_RUNS:,}; give shorter lists"
        )
    return itertools.product(*values)


@cached
def _grids(sources: tuple[str, ...]) -> list[dict[str, Any]]:
    """The grids of an experiment; a single empty one where it has none."""
    with references():
        sweep = compose(sources).sweep if sources else []
        grids: Any = OmegaConf.to_container(sweep) if isinstance(sweep, ListConfig) else sweep
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise UsageError("a sweep is a list of grids, each with keys and their values: sweep=[{seed:'1,2'}]")
    return grids or [{}]


def _values(override: Override) -> list[str]:
    """The single-valued overrides that a sweep override expands to."""
    key, value = override.key_or_group, override.value()
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not affects_result(key) and (key not in groups() or key == "launch"):
        raise UsageError(f"{override.input_line}: {key} does not change the result; give it one value")
    if override.is_interval_sweep():
        raise UsageError(f"{override.input_line}: an interval is not a list of values; write range(a,b,step) or a list")
    if isinstance(value, Glob):
        names = value.filter(groups().get(key, []))
        if not names:
            known = ", ".join(groups().get(key, [])) or f"no files, because {key} is no group; write a list"
            raise UsageError(f"{override.input_line} matches nothing; {key}= takes {known}")
        return [f"{key}={name}" for name in names]
    return [f"{override.get_key_element()}={text}" for text in override.sweep_string_iterator()]
