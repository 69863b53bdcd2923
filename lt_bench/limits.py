"""Values that are out of range, and values that cannot go together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from hydra.utils import get_object
from omegaconf import OmegaConf

from lt_bench.compose import groups, shown
from lt_bench.config import CHOICES, TORCHVISION, Config, Launch, Training, flat, node, wants_validation
from lt_bench.data.views import BOOSTED, VIEWS
from lt_bench.signatures import constant

# Smallest and largest allowed values; of a list, of every number in it.
RANGES: dict[str, tuple[float, float]] = {
    "imbalance.factor": (1, math.inf),
    "dataset.num_classes": (2, math.inf),
    "dataset.image_size": (4, math.inf),
    "dataset.crop_padding": (0, math.inf),
    "dataset.crop_scale": (0, 1),
    "dataset.color_jitter": (0, math.inf),
    "dataset.color_jitter_probability": (0, 1),
    "dataset.grayscale_probability": (0, 1),
    "dataset.randaugment_operations": (1, math.inf),
    "dataset.randaugment_magnitude": (0, math.inf),
    "dataset.pool_per_class": (1, math.inf),
    "dataset.validation_fraction": (0, 1),
    "dataset.validation_per_class": (0, math.inf),
    "dataset.train_images": (1, math.inf),
    "dataset.validation_images": (1, math.inf),
    "dataset.test_images": (1, math.inf),
    "dataset.class_sizes": (1, math.inf),
    "dataset.short_side": (8, math.inf),
    "dataset.jpeg_quality": (1, 100),
    "dataset.workers": (0, math.inf),
    "train.epochs": (1, math.inf),
    "train.batch_size": (1, math.inf),
    "train.microbatch": (1, math.inf),
    "train.lr_base_batch": (1, math.inf),
    "train.optimizer.momentum": (0, 1),
    "train.optimizer.weight_decay": (0, math.inf),
    "backbone.input_pool": (1, math.inf),
    "evaluation.batch_size": (1, math.inf),
    "budget.max_steps_per_epoch": (1, math.inf),
    "checkpoint.every_epochs": (1, math.inf),
    "checkpoint.every_steps": (1, math.inf),
    "launch.parallel_runs": (1, math.inf),
    "launch.threads_per_run": (1, math.inf),
    "launch.runs_per_gpu": (1, math.inf),
    "launch.nodes": (1, math.inf),
    "launch.gpus_per_node": (0, math.inf),
    "launch.cpus_per_task": (1, math.inf),
    "launch.time_min": (1, math.inf),
    "launch.array_parallelism": (1, math.inf),
    "launch.signal_delay_s": (1, math.inf),
    "launch.max_requeues": (0, math.inf),
    "seed": (0, math.inf),
    "split_seed": (0, math.inf),
}
POSITIVE = ("train.lr", "budget.epoch_scale", "dataset.std", "dataset.crop_scale", "launch.mem_gb")
LENGTHS = {
    "dataset.mean": 3, "dataset.std": 3, "dataset.crop_scale": 2, "dataset.color_jitter": 4, "dataset.class_sizes": 2,
}  # fmt: skip
# Options of sbatch that keys of launch stand for, and those that cannot be chosen.
SBATCH_KEYS = {
    "time": "time_min", "mem": "mem_gb", "mem-per-cpu": "mem_gb", "mem-per-gpu": "mem_gb", "nodes": "nodes",
    "cpus-per-task": "cpus_per_task", "gpus": "gpus_per_node", "gpus-per-node": "gpus_per_node",
    "ntasks-per-node": "gpus_per_node", "ntasks": "gpus_per_node", "partition": "partition", "account": "account",
    "qos": "qos", "constraint": "constraint", "array": "array_parallelism", "signal": "signal_delay_s",
    "requeue": "max_requeues", "no-requeue": "max_requeues",
}  # fmt: skip
SBATCH_OURS = (
    "job-name", "output", "error", "open-mode", "dependency", "wrap", "parsable", "wait", "quiet", "clusters",
    "test-only", "help", "usage", "version",
)  # fmt: skip


def out_of_range(config: Config) -> Iterator[str]:
    """One line for every value outside its range or its list of words."""
    for key, value in flat(asdict(config)).items():
        like = key.removeprefix("stage_two.") if key.startswith("stage_two.train.") else key
        numbers = [x for x in (value if isinstance(value, list) else [value]) if isinstance(x, (int, float))]
        least, most = RANGES.get(like, (-math.inf, math.inf))
        if like in CHOICES and value not in CHOICES[like]:
            yield f"{key}={shown(value)}: {key}= takes {', '.join(CHOICES[like])}"
        elif like in LENGTHS and value is not None and len(value) != LENGTHS[like]:
            yield f"{key}={shown(value)}: {key}= takes a list of {LENGTHS[like]} numbers"
        elif not all(math.isfinite(x) and least <= x <= most for x in numbers):
            bounds = f" from {least:g}" * (least > -math.inf) + f" to {most:g}" * (most < math.inf)
            yield f"{key}={shown(value)}: {key}= takes {'' if bounds else 'finite '}numbers{bounds}"
        elif like in POSITIVE and not all(x > 0 for x in numbers):
            yield f"{key}={shown(value)}: {key}= takes numbers above 0"
    single = config.method.get("cluster_view")
    for key, views in (("views", config.method.get("views")), ("cluster_view", [single] if single else [])):
        for view in dict.fromkeys(views or []):
            if view not in VIEWS:
                wanted = "a list of " if key == "views" else ""
                yield f"method.{key}: unknown view {view!r}; method.{key}= takes {wanted}{', '.join(VIEWS)}"


def impossible(config: Config) -> Iterator[str]:
    """One line for every combination of values that no run can have."""
    of_method = (_classifier, _labels, _strengths, _harmonization, _fidelity)
    of_run = (_tail, _validation, _lists, _input_pool, _pretrained, _optimizers, _schedules, _steps, _launch)
    for check in (*of_method, *of_run):
        yield from check(config)


def _classifier(config: Config) -> Iterator[str]:
    name, rule = config.method["name"], config.stage_two["name"]
    # what is no literal in a class cannot be known here: it is taken to be possible
    provides = constant(config.method["_target_"], "provides_classifier", False)
    if constant(config.stage_two["_target_"], "uses_classifier", False) is True and not provides:
        others = ", ".join(choice for choice in groups()["stage_two"] if not _uses_classifier(choice))
        yield f"stage_two={rule} needs a classifier and method={name} trains none; set stage_two= to one of {others}"
    linear = constant(config.method["_target_"], "linear_classifier", True)
    linear = linear and config.method.get("classifier") != "cosine"
    if provides and not linear and constant(config.stage_two["_target_"], "needs_linear_classifier", False) is True:
        yield f"stage_two={rule} needs a linear classifier and method={name} has a normalised one; set stage_two=cb"
    select = config.evaluation.select
    if select != "last" and rule != "none" and "train" not in config.stage_two:
        yield f"evaluation.select={select}: stage_two={rule} is not trained; set evaluation.select=last"


def _labels(config: Config) -> Iterator[str]:
    sampler, name = config.train.sampler, config.method["name"]
    if sampler != "shuffle" and _self_supervised(config):
        yield f"train.sampler={sampler} goes by labels and method={name} never reads labels; set train.sampler=shuffle"


def _self_supervised(config: Config) -> bool:
    return constant(config.method["_target_"], "self_supervised", False) is True


def _strengths(config: Config) -> Iterator[str]:
    method = config.method
    gives = constant(method["_target_"], "gives_strength", False)
    for key, views in (("cluster_view", [method.get("cluster_view")]), ("views", method.get("views") or [])):
        for view in sorted(set(views) & set(BOOSTED)) if key == "cluster_view" or gives is False else ():
            yield (
                f"method.{key}: the view {view} needs a strength for every image, and nothing gives one here; boosted "
                f"views are for method=boosted_cl, and the same without RandAugment is the view {BOOSTED[view]}"
            )
    given = method.get("views")
    if gives is True and given is not None and not set(given) & set(BOOSTED):
        usual = "boosted" if config.dataset.train_list is None else "ssl_wide_blur_boosted"
        yield (
            f"method.views={shown(given)}: method={method['name']} boosts no view of these; set "
            f"method.views=[{usual},{usual}]"
        )


def _harmonization(config: Config) -> Iterator[str]:
    name = config.method["name"]
    base = name.removesuffix("_gh")
    if base != name and base in groups()["method"] and config.method.get("harmonization") is None:
        yield f"method={name} needs method.harmonization; set method={base} to train without"


def _uses_classifier(rule: str) -> bool:
    text = (files("lt_bench.conf") / "stage_two" / f"{rule}.yaml").read_text(encoding="utf-8")
    target = OmegaConf.select(OmegaConf.create(text), "_target_")
    return constant(target, "uses_classifier", False) is True


def _fidelity(config: Config) -> Iterator[str]:
    name, quirks = config.method["name"], groups()["quirks"]
    if config.fidelity == "official" and f"{name}_official" not in quirks:
        known = ", ".join(choice.removesuffix("_official") for choice in quirks)
        yield f"fidelity=official is the same as clean for method={name}; set fidelity=clean (official: {known})"
    elif config.fidelity == "official" and config.dataset.train_list is not None and _self_supervised(config):
        yield (
            f"fidelity=official is what the authors' code of method={name} does on CIFAR, and dataset="
            f"{config.dataset.name} is of large images; set fidelity=clean, and single values as method.KEY=VALUE"
        )


def _tail(config: Config) -> Iterator[str]:
    if config.imbalance.factor is None and config.imbalance.profile != "exponential":
        yield f"imbalance.profile={config.imbalance.profile} shapes nothing without a factor; set imbalance.factor=100"


def _validation(config: Config) -> Iterator[str]:
    data = config.dataset
    if data.validation_fraction == 1:
        yield "dataset.validation_fraction=1 leaves nothing to train on; set it below 1, for example 0.2"
    if data.validation_fraction and data.validation_per_class:
        yield "dataset.validation_fraction and dataset.validation_per_class exclude each other; set one of them to 0"
    if (data.validation_fraction or data.validation_per_class) and data.validation_list:
        yield (
            f"{data.name} has a validation list, and a part of the training images is to be set aside as well; set "
            "dataset.validation_list=null, or dataset.validation_fraction=0 and dataset.validation_per_class=0"
        )
    parts = (data.validation_fraction, data.validation_per_class, data.validation_list, data.split_dir)
    if not any(parts) and wants_validation(config):
        yield (
            "a validation part is asked for but there is none; set dataset.validation_per_class=20 (a balanced part of "
            "the images before the tail is cut) or dataset.validation_fraction=0.2 (a part of the long-tailed images)"
        )


def _lists(config: Config) -> Iterator[str]:
    if config.dataset.split_dir is None:
        return
    if config.split_seed < 1:
        yield f"split_seed={config.split_seed}: dataset.split_dir has the splits split1, split2, ...; set split_seed=1"
    for key in ("pool_per_class", "validation_fraction", "validation_per_class", "probe_list"):
        if getattr(config.dataset, key):
            yield f"dataset.{key} and dataset.split_dir exclude each other: lists say which images there are; set one"


def _input_pool(config: Config) -> Iterator[str]:
    size, pool = config.dataset.image_size, config.backbone.get("input_pool", 1)
    if size % pool or size // pool < 4:
        fitting = ", ".join(str(k) for k in range(1, size // 4 + 1) if size % k == 0)
        yield f"backbone.input_pool={pool} does not fit images of {size} pixels; backbone.input_pool= takes {fitting}"


def _pretrained(config: Config) -> Iterator[str]:
    name, pretrained = config.backbone["name"], config.backbone.get("pretrained")
    if pretrained == "torchvision" and name not in TORCHVISION:
        yield (
            f"backbone.pretrained=torchvision: it has weights of {', '.join(TORCHVISION)}, not of {name}; set "
            "backbone.pretrained=FILE"
        )
    elif pretrained is not None and pretrained != "torchvision" and not Path(pretrained).expanduser().is_file():
        yield f"backbone.pretrained={pretrained}: no such file; set it to a file of weights, or to torchvision"


def _optimizers(config: Config) -> Iterator[str]:
    for key in ("train.optimizer", "stage_two.train.optimizer"):
        if node(config, f"{key}.name") == "adam" and node(config, f"{key}.nesterov"):
            yield f"{key}.nesterov=true is a kind of momentum that Adam does not have; set {key}.nesterov=false"
        if node(config, f"{key}.name") == "adam" and node(config, f"{key}.momentum") == 1:
            yield f"{key}.momentum=1: Adam's first beta is below 1; set {key}.momentum=0.9"


def _schedules(config: Config) -> Iterator[str]:
    """What a schedule's own constructor refuses; only our schedules, which import no torch, are built here."""
    for key in ("train.schedule", "stage_two.train.schedule"):
        values = node(config, key) or {}
        if values.get("_target_", "").startswith("lt_bench.engine.schedules."):
            try:
                get_object(values["_target_"])(**{name: value for name, value in values.items() if name != "_target_"})
            except ValueError as error:
                yield f"{key}: {error}; set single values as {key}.KEY=VALUE"


def _steps(config: Config) -> Iterator[str]:
    """Micro-batches of a loss that is none of parts, and a rate that is scaled from nothing."""
    for key, owner in (("train", "method"), ("stage_two.train", "stage_two")):
        values = node(config, key)
        training = values if isinstance(values, dict) else vars(values or Training())
        if training.get("lr_scaling", "none") != "none" and training.get("lr_base_batch") is None:
            yield f"{key}.lr_scaling needs the batch size of the unscaled rate; set {key}.lr_base_batch=256"
        mean = constant(node(config, owner)["_target_"], "microbatches", False)
        if training.get("microbatch") and not training.get("microbatch_anyway") and mean is False:
            yield (
                f"{key}.microbatch={training['microbatch']}: the loss of {owner}={node(config, owner)['name']} is no "
                f"mean over independent images, so parts of a batch have another loss; set {key}.microbatch=null, or "
                f"{key}.microbatch_anyway=true to train on the loss of the parts"
            )


def _launch(config: Config) -> Iterator[str]:
    """Words for sbatch are checked here, because they end up in a script: one line each, options only in ``sbatch``."""
    launch = config.launch
    if launch.executor == "local":
        for key in sorted(asdict(launch).keys() - {"executor", "parallel_runs", "threads_per_run"}):
            if getattr(launch, key) != getattr(Launch(), key):
                yield f"launch.{key} is for a cluster; add launch=slurm, or leave it out"
        return
    for key in ("partition", "account", "qos", "constraint"):
        value = getattr(launch, key)
        if value is not None and (not value or not value.isprintable()):
            yield f"launch.{key}={shown(value)!r}: launch.{key}= takes one line of text"
    yield from filter(None, map(_sbatch_option, launch.sbatch))
    if launch.runs_per_gpu > 1 and (launch.nodes > 1 or launch.gpus_per_node > 1):
        yield "launch.runs_per_gpu above 1 shares one GPU; set launch.nodes=1 launch.gpus_per_node=1"
    if launch.signal_delay_s >= 60 * launch.time_min:
        yield "launch.signal_delay_s must be below the whole time of a job; set more launch.time_min"


def _sbatch_option(option: str) -> str | None:
    """What is wrong with an option for sbatch, which takes the beginning of a name for the name."""
    if not option.isprintable() or not re.fullmatch(r"--[a-z][a-z-]*(=.+)?", option):
        return f'launch.sbatch: {option!r} is no option of sbatch; write it as launch.sbatch=["--exclude=node7"]'
    name = option.removeprefix("--").partition("=")[0]
    meant = [known for known in (*SBATCH_KEYS, *SBATCH_OURS) if known.startswith(name)]
    meant = [name] if name in meant else meant
    short = f" is the beginning of --{' or --'.join(meant)}, which" if meant != [name] else ""
    if keys := dict.fromkeys(SBATCH_KEYS[known] for known in meant if known in SBATCH_KEYS):
        return f"launch.sbatch: {option!r}{short} has a key of its own; set launch.{'= or launch.'.join(keys)}="
    if meant:
        return f"launch.sbatch: --{name}{short} is what arrays of runs are made and followed with; leave it out"
    return None
