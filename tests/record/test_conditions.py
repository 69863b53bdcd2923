"""Runs under different conditions never share a table, and what differs is named."""

import random
from typing import Any

import pytest
from helpers.samples import sample

from lt_bench.record.conditions import conditions, distinguish
from lt_bench.record.record import RunRecord
from lt_bench.report.frame import frame
from lt_bench.report.paired import paired_table
from lt_bench.report.sections import sections
from lt_bench.report.tables import accuracy_table, title

POOL, INPUT = "dataset.pool_per_class", "backbone.input_pool"
PLAIN = "digits_lt_if20"


def under(**options: Any) -> list[RunRecord]:
    """CE and SBCL under the same conditions, with recipes of their own."""
    settings = options.pop("settings")
    name = f"{settings} {options}"
    return [
        sample(setting_id=f"ce {name}", method_name="CE", settings={**settings, "train.epochs": 2}, **options),
        sample(setting_id=f"sbcl {name}", settings={**settings, "train.epochs": 1, "method.k": 3}, **options),
    ]


def named(*settings: dict[str, Any], **options: Any) -> dict[str, list[str]]:
    """Name and conditions of the sections of some settings."""
    records = [record for each in settings for record in under(settings=each, **options)]
    return {part.name: part.conditions for part in sections(frame(records))}


def test_conditions_are_the_settings_of_five_groups_in_canonical_form() -> None:
    settings = '{"train.epochs": 3, "imbalance.factor": 20.0, "dataset.b": [1, 2], "dataset_x": 1, "dataset.a": null}'
    assert conditions(settings) == '{"dataset.a": null, "dataset.b": [1, 2], "imbalance.factor": 20.0}'
    kept = {f"{group}.key": 1 for group in ("backbone", "budget", "dataset", "evaluation", "imbalance")}
    other = dict.fromkeys(["method.k", "stage_two.dataset.x", "fidelity", "train.lr"], 1)
    assert set(distinguish([conditions(frame([sample(settings=kept | other)])["settings"][0]), "{}"])[0].words) == {
        f"{key}=1" for key in kept
    }


@pytest.mark.parametrize("key", [POOL, INPUT, "evaluation.select", "imbalance.subset", "budget.max_steps_per_epoch"])
def test_every_condition_parts_the_tables(key: str) -> None:
    last = key.partition(".")[2]
    assert named({}, {key: 7}) == {PLAIN: [f"{key}=default"], f"{PLAIN}_{last}-7": [f"{key}=7"]}


def test_recipes_and_methods_share_a_table_and_brackets_say_only_what_differs_in_it() -> None:
    records = under(settings={POOL: 50}) + under(settings={})
    records.append(sample(setting_id="other", settings={POOL: 50, "train.epochs": 1, "method.k": 4}))
    plain, small = sections(frame(records))
    assert [row.label for row in plain.rows] == ["CE / CB", "SBCL / CB"]
    assert [row.label for row in small.rows] == ["CE / CB", "SBCL / CB, k 3", "SBCL / CB, k 4"]
    assert [row.key for row in small.rows] == ["CE / CB", "SBCL / CB (method.k=3)", "SBCL / CB (method.k=4)"]


def test_the_name_has_the_differing_keys_that_are_set_and_the_caption_all_of_them() -> None:
    shared = {"dataset.crop_padding": 1}
    assert named(shared | {INPUT: 2, POOL: 50}, shared | {POOL: 50}, shared) == {
        PLAIN: [f"{POOL}=default", f"{INPUT}=default"],
        f"{PLAIN}_pool_per_class-50": [f"{POOL}=50", f"{INPUT}=default"],
        f"{PLAIN}_pool_per_class-50_input_pool-2": [f"{POOL}=50", f"{INPUT}=2"],
    }


def test_conditions_that_all_share_or_that_other_names_have_are_not_named() -> None:
    assert named({POOL: 50}) == {PLAIN: []}
    hundred = sample(setting_id="100", imbalance_factor=100.0, settings={"imbalance.factor": 100.0})
    parts = sections(frame([hundred, sample(settings={"imbalance.factor": 20.0})]))
    assert [(part.name, part.conditions) for part in parts] == [(PLAIN, []), ("digits_lt_if100", [])]


def test_the_caption_of_both_tables_names_the_conditions() -> None:
    plain, small = sections(frame(under(settings={}) + under(settings={POOL: 50, INPUT: 2})))
    words = f"test split, {POOL}=50, {INPUT}=2."
    assert words in title(small) and f"test split, {POOL}=default, {INPUT}=default." in title(plain)
    paired = paired_table(small, "CE / CB")
    assert paired and paired.name == f"{small.name}_vs_ce_cb"
    assert words in paired.caption[0] and words in accuracy_table(small).caption[0]


def test_values_of_all_kinds_make_names_of_files() -> None:
    target = "dataset._target_"
    assert list(named({"dataset.crop_scale": [0.6, 1.0], target: "a.b.c/load x", "dataset.flip": False}, {})) == [
        PLAIN,
        f"{PLAIN}_target-a.b.c-load-x_crop_scale-0.6-1.0_flip-false",
    ]


@pytest.mark.parametrize(
    "settings",
    [
        ({POOL: 1}, {POOL: "1"}),
        ({"dataset.x": 1}, {"backbone.x": 1}),
        ({"dataset.x": "a/b"}, {"dataset.x": "a b"}),
        ({POOL: True}, {POOL: "true"}, {}),
    ],
)
def test_names_that_are_still_equal_get_a_hash(settings: tuple[dict[str, Any], ...]) -> None:
    names = named(*settings)
    hashed = [name for name in names if name != PLAIN]
    assert len(names) == len(settings) and len(hashed) == 2
    assert len({name[-8:] for name in hashed}) == 2 and len({name[:-8] for name in hashed}) == 1
    assert set(named(*reversed(settings))) == set(names)


def test_data_sets_whose_names_look_alike_in_a_file_name_get_a_hash() -> None:
    records = [sample(dataset=name, setting_id=name) for name in ("my/own", "my own")]
    one, two = sections(frame(records))
    assert one.name != two.name and one.name[:-8] == two.name[:-8] == "my-own_if20_"


def test_the_order_of_the_records_does_not_matter() -> None:
    records = [record for pool in (50, 500, "50") for record in under(settings={POOL: pool})] + under(settings={})
    stored = [(part.name, part.conditions) for part in sections(frame(records))]
    random.Random(0).shuffle(records)
    assert [(part.name, part.conditions) for part in sections(frame(records))] == stored and stored[0][0] == PLAIN
