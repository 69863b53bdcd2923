"""Values that are out of range, or none of the allowed words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

from lt_bench.augment.views import VIEWS
from lt_bench.config.compose import shown
from lt_bench.config.schema import CHOICES, Config, flat

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
    "train.optimizer.betas": (0, 1),
    "train.optimizer.eps": (0, math.inf),
    "train.layer_decay": (0, 1),
    "train.ema_decay": (0, 1),
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
POSITIVE = (
    "train.lr", "train.layer_decay", "train.head_lr_factor", "train.clip_norm", "budget.epoch_scale", "dataset.std",
    "dataset.crop_scale", "launch.mem_gb",
)  # fmt: skip
LENGTHS = {
    "dataset.mean": 3, "dataset.std": 3, "dataset.crop_scale": 2, "dataset.color_jitter": 4, "dataset.class_sizes": 2,
}  # fmt: skip


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
