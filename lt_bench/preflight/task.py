"""What is for another task than the data set: images have one class each, or one for each pixel."""

from __future__ import annotations

from collections.abc import Iterator

from lt_bench.config.compose import groups, target_of
from lt_bench.config.conf import values_of
from lt_bench.config.schema import Config, node
from lt_bench.config.signatures import TargetError, class_attribute, parameters

CLASSIFICATION = "classification"
OF_CLASSES = {  # what needs one class for each image, or leaves its mask behind, with the value that leaves it out
    "train.sampler": "shuffle",
    "dataset.validation_per_class": 0,
    "dataset.pool_per_class": None,
    "dataset.split_dir": None,
    "dataset.pixels": "plain",
    "dataset.short_side": None,
    "dataset.jpeg_quality": None,
    "dataset.packed": None,
    "dataset.decoder": "pillow",
    "dataset.on_bad_image": "stop",
    "evaluation.views": "single",
    "evaluation.save_features": False,
    "backbone.input_pool": 1,
    "imbalance.profile": "exponential",
}


def other_task(config: Config) -> Iterator[str]:
    """One line for a method, a rule and each setting that the task of the data set has no use for."""
    task, data, method, rule = config.dataset.task, config.dataset.name, config.method, config.stage_two
    of_method = class_attribute(method["_target_"], "task", CLASSIFICATION)
    if isinstance(of_method, str) and of_method != task:
        instead = (
            f"dataset= to one of {', '.join(name for name in groups()['dataset'] if task_of(name) == of_method)}",
            f"method= to one of {', '.join(name for name in groups()['method'] if task_of_method(name) == task)}",
        )
        yield f"method={method['name']} is for {of_method} and dataset={data} is of {task}; set {min(instead, key=len)}"
        return
    tasks = class_attribute(rule._target_, "tasks", (CLASSIFICATION,))
    if isinstance(tasks, (tuple, list)) and task not in tasks:
        yield f"stage_two={rule.name} is for {' and '.join(tasks)} and dataset={data} is of {task}; set stage_two=none"
    if task == CLASSIFICATION:
        return
    for key, usual in OF_CLASSES.items():
        if (value := node(config, key)) not in (usual, None):
            word = "null" if usual is None else str(usual).lower()
            yield f"{key}={value} is for images of one class each, and dataset={data} is of {task}; set {key}={word}"
    if config.imbalance.factor is not None and "imbalance_factor" not in parameters(config.dataset._target_):
        yield f"imbalance.factor: dataset={data} has images of several classes and no tail is cut; set imbalance=native"


def task_of(dataset: str) -> str:
    """The task of a data set in conf/."""
    found = (values_of(f"dataset/{dataset}").get("dataset") or {}).get("task", CLASSIFICATION)
    return str(found)


def task_of_method(name: str) -> str:
    """The task of a method in conf/; that of what cannot be read is classification."""
    try:
        return str(class_attribute(target_of("method", name), "task", CLASSIFICATION))
    except TargetError:
        return CLASSIFICATION
