"""Records as runs of real configs have them, with figures of one's own, for tests of reports."""

from __future__ import annotations

from functools import cache
from typing import Any

from helpers.samples import metrics, sample
from lt_bench.config.compose import compose
from lt_bench.config.schema import Config
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities, setting_id, unseeded
from lt_bench.record.record import RunRecord


@cache
def config_of(words: str) -> Config:
    """The validated config of some overrides with blanks between them."""
    return validate(compose(words.split()))


def composed(words: str, seed: int = 0, top1: float = 0.5, **changes: Any) -> RunRecord:
    """The record that a run of some overrides would have, with 100 test images of each of 100 classes."""
    config = config_of(f"{words} seed={seed}")
    identity, stage_one = identities(config)
    measured = metrics(top1, (0.6, top1, 0.2)) | {
        "per_class_accuracy": [top1] * 100,
        "test_counts": [100] * 100,
        "train_counts": [5] * 100,
    }
    rule = config.stage_two
    values: dict[str, Any] = {
        "run_id": identity,
        "stage_one_id": stage_one,
        "setting_id": setting_id(config),
        "method": config.method["name"],
        "method_name": config.method["title"],
        "dataset": config.dataset.name,
        "imbalance_profile": config.imbalance.profile,
        "imbalance_factor": config.imbalance.factor,
        "backbone": config.backbone["name"],
        "stage_two": rule.name,
        "stage_two_name": rule.title,
        "seed": seed,
        "settings": unseeded(config),
        "metrics": measured,
        "group_rule": config.dataset.group_rule,
        "selection": config.evaluation.select,
    }
    return sample(**(values | changes))
