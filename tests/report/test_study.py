"""A caption identifies its study: whatever makes two tables incomparable makes their captions differ."""

from pathlib import Path
from typing import Any

import pytest
from helpers.composed import composed
from helpers.samples import metrics, sample

from lt_bench.config.compose import compose
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identity_values
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.report.tables import accuracy_table, title
from lt_bench.report.typed import beside_recipes

SETTINGS = {
    "train.epochs": 200,
    "stage_two.train.epochs": 30,
    "dataset.image_size": 28,
    "method._target_": "lt_bench.A",
}


def caption(*records: Any) -> str:
    (part,) = sections(frame(records))
    return title(part)


def with_settings(**changes: Any) -> str:
    return caption(sample(settings=SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}))


def counts(train: int, test: int) -> dict[str, Any]:
    return metrics() | {"train_counts": [train - 5, 5], "test_counts": [test, 0]}


def test_images_epochs_and_settings_of_the_data_stand_in_a_caption() -> None:
    assert with_settings().endswith(
        "test split. 105 training and 10 test images of 2 classes; epochs 200; epochs of stage two 30; image_size 28."
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset__pool_per_class": 100},
        {"dataset__image_size": 14},
        {"dataset__root": "mine"},
        {"train__epochs": 60},
        {"stage_two__train__epochs": 3},
        {"backbone__input_pool": 2},
        {"evaluation__select": "best_validation"},
        {"budget__epoch_scale": 0.1},
        {"dataset___target_": "my_data.load"},
        {"method___target_": "my_method.Mine"},
        {"stage_two___target_": "my_rule.Mine"},
    ],
)
def test_one_change_gives_another_caption(changes: dict[str, Any]) -> None:
    assert with_settings(**changes) != with_settings()


@pytest.mark.parametrize(("train", "test"), [(1236, 10), (105, 60_000)])
def test_other_numbers_of_images_give_another_caption(train: int, test: int) -> None:
    found = caption(sample(settings=SETTINGS, metrics=counts(train, test)))
    assert f"{train:,} training and {test:,} test images" in found and found != with_settings()


def test_rows_and_runs_that_differ_give_a_range() -> None:
    other = {**SETTINGS, "train.epochs": 60}
    records = [
        sample(settings=SETTINGS),
        sample(seed=1, settings=SETTINGS, metrics=counts(120, 10)),
        sample(setting_id="b", method_name="B", settings=other),
    ]
    assert "105–120 training and 10 test images of 2 classes; epochs 60–200" in caption(*records)


def test_a_record_without_counts_says_nothing_of_them() -> None:
    few = {key: value for key, value in metrics().items() if not key.endswith("_counts")}
    assert "images" not in caption(sample(metrics=few))


def recipe_of(**choices: str) -> dict[str, Any]:
    """What a record of these choices says of its settings."""
    return identity_values(validate(compose([f"{key}={value}" for key, value in choices.items()])))


CHOICES = {"method": "ce", "dataset": "digits_lt", "stage_two": "cb", "backbone": "tiny"}


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({}, None),
        ({"train.lr": "9"}, "train.lr=9.0"),
        ({"stage_two.train.batch_size": "7"}, "stage_two.train.batch_size=7"),
        ({"train.epochs": "60"}, None),  # which the caption says, as what follows from it
        ({"seed": "3"}, None),
        ({"train.optimizer.weight_decay": "0.3", "train.sampler": "class_aware"}, "class_aware"),
    ],
)
def test_a_setting_that_is_not_the_recipes_is_told(typed: dict[str, str], told: str | None) -> None:
    known = {"method": "ce", "method_name": "CE", "backbone": "tiny"}
    plain = sample(setting_id="a", settings=recipe_of(**CHOICES) | {"method._target_": "other"}, **known)
    other = sample(setting_id="b", settings=recipe_of(**CHOICES, **typed), **{**known, "method_name": "CE, typed"})
    (part,) = sections(frame([plain, other]))
    said = [line for line in accuracy_table(part).caption if line.startswith("Other than in the recipe")]
    assert len(said) == (told is not None) and (told is None or told in said[0] and "CE, typed / CB: " in said[0])


def test_rows_that_conf_does_not_know_say_nothing() -> None:
    (part,) = sections(frame([sample(method="mine", settings={"train.lr": 9, "method.x": 1})]))
    assert beside_recipes(part) == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("method=ce mixing=cmo train.lr=0.3", "CE + CMO / –: train.lr=0.3"),
        ("method=ce mixing=cmo", ""),
        ("method=ce variant=strong train.batch_size=32", "CE (strong) / –: train.batch_size=32"),
        ("method=ce finetune=lora backbone=vit_small train.lr=0.3", "CE, LoRA / –: train.lr=0.3"),
        ("method=ce finetune=lora backbone=timm backbone.model=vit_tiny_patch16_224.augreg_in21k", ""),
        ("method=gcl mixing=none", "GCL / GCL: mixing=none"),
        ("method=glmc imbalance=if50", ""),
    ],
)
def test_rows_with_components_are_compared_with_the_recipe_that_has_them(words: str, said: str) -> None:
    (part,) = sections(frame([composed(f"dataset=cifar100_lt {words}")]))
    assert beside_recipes(part) == (f"Other than in the recipe: {said}." if said else "")


OF_FACTOR = """
# @package _global_
defaults:
  - ce
method: {name: of_factor, title: Of the factor}
train: {lr: "${imbalance.factor}"}
"""


@pytest.mark.parametrize("lr", [50.0, 100.0])
def test_a_recipe_that_follows_the_imbalance_factor_is_that_of_the_row(
    lr: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lt_bench_conf" / "method").mkdir(parents=True)
    (tmp_path / "lt_bench_conf" / "method" / "of_factor.yaml").write_text(OF_FACTOR.lstrip())
    monkeypatch.chdir(tmp_path)
    words = f"method=of_factor dataset=cifar100_lt imbalance=if50 train.lr={lr}"
    (part,) = sections(frame([composed(words)]))
    told = "Other than in the recipe: Of the factor / –: train.lr=100.0."
    assert beside_recipes(part) == (told if lr != 50 else "")
