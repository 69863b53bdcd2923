"""A run's identity: a hash of everything in its config that decides the result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lt_bench.config import optimizers
from lt_bench.config.compose import groups
from lt_bench.config.conf import values_of
from lt_bench.config.dataset import Dataset
from lt_bench.config.keys import affects_result
from lt_bench.config.own_files import cached
from lt_bench.config.schema import PUBLISHED, Config, StageTwo, flat, node, plain
from lt_bench.config.signatures import REQUIRED, parameters
from lt_bench.config.stages import StageName
from lt_bench.data.content import look, looked_at_once, number_of_classes
from lt_bench.data.files.digests import UNREADABLE, digests
from lt_bench.data.splits.list_files import STAGE_ONE, checksums, probe_list
from lt_bench.errors import UsageError
from lt_bench.models.weight_files import located
from lt_bench.preflight.validate import TARGETS
from lt_bench.record import own_code
from lt_bench.record.record import PREDICTOR

PRETRAINED, PREFIX = "backbone.pretrained", "backbone.weights_prefix"
TEXTS, TEACHER = ("method.finetune.text_features", "stage_two.text_features"), "method.teacher"
# Runs that differ in nothing else are repetitions of each other.
SEEDS = ("seed", "split_seed", "stage_two.shot_seed")
# Paths that decide by being given; the lists that are there decide by their checksums.
GIVEN = ("dataset.split_dir",)
# Every key of a file or folder that decides by what is in it, beside those of a data set.
BY_CONTENT = (*GIVEN, PRETRAINED, *TEXTS, TEACHER)
LISTS, PROBE_LISTS = "lists", "probe_lists"
# What a data set is known by, as far as that is not said by its name.
CONTENT = "dataset.content"
PROBE_CONTENT, PROBE_LIST = f"{CONTENT}.probe", "dataset.probe_list"
# What a probe is fitted on, which no encoder sees.
PROBED = (PROBE_LISTS, PROBE_CONTENT, PROBE_LIST)


@looked_at_once()
def identity_values(config: Config) -> dict[str, Any]:
    """Dotted keys that decide the result, with their values, less every key that has its default.

    Defaults are those of the schema and of the classes' constructors, so a new key leaves old identities alone. A file
    of pretrained weights, and a teacher's, stands for its SHA-256, not for its path; raises UsageError where it cannot
    be read. Own code counts by its content.
    """
    defaults = dict(_schema_defaults(Config))
    for key, beside in TARGETS.items():
        values = node(config, key) or {}
        if target := values._target_ if isinstance(values, StageTwo) else values.get("_target_"):
            known = {**beside, **parameters(target)}
            defaults |= {f"{key}.{name}": parameter.default for name, parameter in known.items()}
    for training in (stage.training for stage in StageName):  # a schedule that follows its stage says nothing new
        for name in ("lr", "epochs"):
            if defaults.get(f"{training}.schedule.{name}", REQUIRED) is REQUIRED:
                defaults[f"{training}.schedule.{name}"] = node(config, f"{training}.{name}")
    values = flat(plain(config)) | {"dataset.num_classes": number_of_classes(config)}
    for key in optimizers.NODES:
        words, usual = optimizers.in_identity(node(config, key) or {})
        values = {name: value for name, value in values.items() if not _under(name, (key,))}
        values |= {f"{key}.{name}": value for name, value in words.items()}
        defaults |= {f"{key}.{name}": value for name, value in usual.items()}
    if not is_probe(config):
        del values[PROBE_LIST]
    if pretrained := values.get(PRETRAINED):
        values[PRETRAINED] = _weights(pretrained)
    values |= {key: _weights(values[key], key) for key in TEXTS if values.get(key)}
    if teacher := values.get(TEACHER):
        values[TEACHER] = _weights(str(Path(teacher) / PREDICTOR), TEACHER)
    if prefix := values.get(PREFIX):
        values[PREFIX] = prefix.strip(".")
    return {
        key: "given" if key in GIVEN else value
        for key, value in sorted((values | _content(config) | _checksums(config) | own_code.versions(config)).items())
        if affects_result(key) and not (key in defaults and _same(defaults[key], value))
    }


def names_files(config: Config) -> bool:
    """Whether a key names a file or folder by whose content the run is known, which may be another one tomorrow."""
    values = flat(plain(config))
    return any(values.get(key) for key in BY_CONTENT)


def _content(config: Config) -> dict[str, str]:
    """What the parts of the data set are known by; of those that a probe alone reads, only where there is one."""
    found = {f"{CONTENT}.{part}": value for part, value in look(config).identity().items()}
    return {key: value for key, value in found.items() if key != PROBE_CONTENT or is_probe(config)}


def _weights(pretrained: str, key: str = PRETRAINED) -> str:
    """Which weights: a file counts by what is in it, wherever it lies."""
    if pretrained in PUBLISHED:
        return pretrained
    path = located(pretrained).absolute()
    (found,) = digests(str(path.parent), [path.name], shown=False)
    if found.sha256 == UNREADABLE:
        what = "a folder of a finished run" if key == TEACHER else "FILE"
        raise UsageError(f"{key}={pretrained} cannot be read; set {key}={what}")
    return f"sha256:{found.sha256}"


@cache
def _schema_defaults(schema: type[Config]) -> dict[str, Any]:
    defaults = flat(plain(schema()))
    return defaults | {f"stage_two.{key}": value for key, value in defaults.items() if key.startswith("train.")}


def _checksums(config: Config) -> dict[str, str]:
    """Of the lists that a run reads: those that its encoder depends on, and the one that a probe is fitted on."""
    dataset, sums = config.dataset, dict[str, str]()
    if dataset.split_dir is not None:
        found = checksums(Path(dataset.split_dir).expanduser(), config.split_seed)
        sums |= {f"{LISTS}.{name}": found[name] for name in STAGE_ONE if name in found}
        sums |= {f"{PROBE_LISTS}.{name}": found[name] for name in probe_lists(config) if name in found}
    return sums


def is_probe(config: Config) -> bool:
    """Whether stage two has a train split of its own, which a probe list may replace; any other rule reads none."""
    return "train_split" in config.stage_two.options


def probe_lists(config: Config) -> tuple[str, ...]:
    """The lists that a stage-two rule with a train split of its own is fitted on where they are there."""
    rule = config.stage_two.options
    if not is_probe(config):
        return ()
    shots = rule.get("shots")
    few = () if shots is None else (probe_list(shots, rule.get("shot_seed", 0)),)
    return ("probe_full", *few)


def run_id(config: Config) -> str:
    """First 12 hexadecimal digits of the SHA-256 of what decides the run's result."""
    return _digest(identity_values(config))


def setting_id(config: Config) -> str:
    """The identity of a run less its seeds: runs that differ in nothing else are averaged."""
    return _digest(unseeded(config))


def unseeded(config: Config) -> dict[str, Any]:
    """``identity_values`` less the seeds and what follows the split seed: ``kmeans_seed``, checksums of lists."""
    values = {key: value for key, value in identity_values(config).items() if not _under(key, (LISTS, PROBE_LISTS))}
    following = {key for key, value in values.items() if key.endswith("_seed") and value == config.split_seed}
    return {key: value for key, value in values.items() if key not in {*SEEDS, *following}}


def stage_one_id(config: Config) -> str:
    """The identity of the stage one below a run; all stage-two rules on top of it share it."""
    return identities(config)[1]


def identities(config: Config) -> tuple[str, str]:
    """The identity of a run, and that of the stage one below it."""
    return identities_by_seed(config)(config.seed)


def identities_by_seed(config: Config) -> Callable[[int], tuple[str, str]]:
    """``identities`` of a config with any seed, which decides nothing else of what they are made of."""
    below = values = identity_values(config)
    if (rule := own_group_rule(config.dataset)) != config.dataset.group_rule:
        below = identity_values(replace(config, dataset=replace(config.dataset, group_rule=rule)))
    # A rule that keeps stage one's classifier lets evaluation.select reach into stage one.
    keep = config.stage_two.name == "none" and config.evaluation.select != "last"
    dropped = ("stage_two", own_code.STAGE_TWO, *PROBED, *(() if keep else ("evaluation",)))
    below = {key: value for key, value in below.items() if not _under(key, dropped)}
    below["kind"] = StageName.ONE.kind
    return lambda seed: (_digest(_seeded(values, seed)), _digest(_seeded(below, seed)))


def _seeded(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Identity values with another seed; a default has none."""
    others = {key: value for key, value in values.items() if key != "seed"}
    return others if _same(_schema_defaults(Config)["seed"], seed) else {**others, "seed": seed}


def own_group_rule(dataset: Dataset) -> str:
    """The group rule that is a data set's own; tables may group its classes otherwise, an encoder does not see it."""
    return dataset.own_group_rule or _group_rule_in_file(dataset.name)


@cached
def _group_rule_in_file(dataset: str) -> str:
    if dataset not in groups()["dataset"]:
        return Dataset.group_rule
    values = OmegaConf.create(values_of(f"dataset/{dataset}"))
    rule: str = OmegaConf.select(values, "dataset.group_rule", default=Dataset.group_rule)
    return rule


def _under(key: str, prefixes: tuple[str, ...]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _same(default: Any, value: Any) -> bool:
    return type(default) is type(value) and default == value


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
