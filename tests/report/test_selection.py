"""Words that choose records, and tables with a key on each axis."""

import pytest
from helpers.samples import metrics, runs, sample

from lt_bench.report.pivot import pivot_table
from lt_bench.report.selection import selected


def record(method="sbcl", factor=100.0, seed=0, few=0.3, **changes):
    settings = {"method": method, "imbalance.factor": factor, **changes.pop("settings", {})}
    names = {"method": method, "method_name": method.upper(), "imbalance_factor": factor, "seed": seed}
    setting = f"{method}-{factor}-{settings.get('train.lr')}"
    return sample(
        **{**names, "setting_id": setting, "settings": settings, "metrics": metrics(0.5, (0.7, 0.5, few))} | changes
    )


DRAWS = [(0, 0, 0.1), (0, 1, 0.3), (1, 0, 0.3), (1, 1, 0.5)]  # seed, seed of the shots, accuracy of few
RECORDS = [record(), record("ce"), record("ce", 10.0, settings={"train.lr": 0.2}), record("bcl", None)]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([], [0, 1, 2, 3]),
        (["method=ce"], [1, 2]),
        (["method=CE"], [1, 2]),
        (["method=ce,bcl"], [1, 2, 3]),
        (["method=ce", "imbalance=if100"], [1]),
        (["imbalance=100"], [0, 1]),
        (["imbalance=native"], [3]),
        (["train.lr=0.2"], [2]),
        (["seed=0"], [0, 1, 2, 3]),
        (["imbalance=1e2"], [0, 1]),
        (["imbalance=if100.0"], [0, 1]),
        (["train.lr=0.20"], [2]),
        (["train.lr=2e-1,7"], [2]),
        (["train.lr=default"], [0, 1, 3]),
        (["seed=0.0"], [0, 1, 2, 3]),
    ],
)
def test_what_is_selected(words, kept):
    assert selected(RECORDS, words) == [RECORDS[place] for place in kept]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("method", "write KEY=VALUE"),
        ("metod=ce", "no run has metod; keys are dataset, .*method"),
        ("method=gce", "no run; method is one of BCL, CE, SBCL, bcl, ce, sbcl"),
        ("train.lr=0.3", "no run; train.lr is one of 0.2"),
    ],
)
def test_words_that_select_nothing_say_what_there_is(word, message):
    with pytest.raises(ValueError, match=message):
        selected(RECORDS, [word])


def test_values_are_compared_by_what_they_are():
    one = record(settings={"a": True, "b": 1, "c": [160, 180], "d": "1e2"})
    for word in ("a=true", "b=1.0", "c=[160,180]", "c=[160.0, 1.8e2]", "d=1e2"):
        assert selected([one], [word]) == [one]
    for word in ("a=1", "b=true", "c=[160]", "d=100", f"b={'[' * 10**5}"):
        with pytest.raises(ValueError, match="no run; "):
            selected([one], [word])


def test_a_pivot_has_the_runs_of_one_setting_in_a_cell():
    several = [record("ce", factor, seed, few) for factor, few in ((10.0, 0.5), (100.0, 0.2)) for seed in (0, 1)]
    several += [record("ce", 100.0, 2, 0.5), record("sbcl", 10.0, 0, 0.6)]
    made = pivot_table(several, ["method"], "imbalance", "few")
    assert list(made.cells.columns) == ["method", "if10", "if100"]
    assert made.cells.to_numpy().tolist() == [["CE", "50.0 ± 0.0", "30.0 ± 17.3"], ["SBCL", "60.0 ± –", "–"]]
    assert made.values["n"].tolist() == [2, 3, 1, 0] and made.values["runs"][1].split() == [
        one.run_id for one in several if one.method == "ce" and one.imbalance_factor == 100.0
    ]
    assert made.name == "method_by_imbalance_few_digits_lt" and "dataset digits_lt" in made.caption[0]


@pytest.mark.parametrize(
    ("records", "rows", "message"),
    [
        (
            [record(), record("ce", backbone="resnet18")],
            ["method"],
            "backbone .*resnet18, tiny.*--where backbone=resnet18",
        ),
        ([record(), record("ce", budget="short")], ["method"], "several values of budget"),
        ([record(), record("ce", selection="best_test")], ["method"], "several values of selection"),
        ([record(), record("ce", group_rule="count_100_20")], ["method"], "several values of group_rule"),
        ([record(), record("ce", settings={"dataset.pool_per_class": 9})], ["method"], "dataset.pool_per_class"),
        (
            [record(), record(settings={"train.lr": 9}, seed=1)],
            ["method"],
            "several settings, which differ in train.lr",
        ),
        ([record(), record("ce")], ["stage_two"], "several values of method"),
        (RECORDS[:2], ["metod"], "no run has metod"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_to_type(records, rows, message):
    with pytest.raises(ValueError, match=message):
        pivot_table(records, rows, "imbalance", "few")


def test_a_setting_on_an_axis_may_differ():
    made = pivot_table([record(), record(settings={"train.lr": 9})], ["method", "train.lr"], "imbalance", "top1")
    assert made.cells.iloc[:, 0].tolist() == ["SBCL / 9", "SBCL / default"]
    assert (
        pivot_table(runs([(0.5, 0.1)], budget="smoke"), ["method"], "imbalance", "few")
        .caption[1]
        .startswith("Budget smoke")
    )


def test_settings_that_no_axis_shows_are_told():
    varied = [record("ce", 10.0, settings={"train.lr": 0.1}), record("ce", settings={"train.lr": 0.2})]
    made = pivot_table([*varied, record("sbcl", 10.0)], ["method"], "imbalance", "few")
    assert made.caption[1:] == ["Cells of a row differ in train.lr as well, which no axis shows."]
    assert len(pivot_table(varied, ["method", "train.lr"], "imbalance", "few").caption) == 1
    many = [record("ce", factor, settings={f"train.a{n}": factor for n in range(8)}) for factor in (10.0, 100.0)]
    assert "train.a5, 2 more as well" in pivot_table(many, ["method"], "imbalance", "few").caption[1]
    alike = [record(settings={"train.lr": None}), record(seed=1, setting_id="other")]
    with pytest.raises(ValueError, match="differ in setting_id: "):
        pivot_table(alike, ["method"], "imbalance", "few")


def test_a_cell_counts_models_and_refuses_runs_of_the_same_seeds():
    draws = [record(seed=seed, few=few, settings={"stage_two.shot_seed": draw}) for seed, draw, few in DRAWS]
    made = pivot_table(draws, ["method"], "imbalance", "few")
    assert made.cells.to_numpy().tolist() == [["SBCL", "30.0 ± 14.1"]]
    assert made.values["n"].tolist() == [2] and len(made.caption) == 1
    with pytest.raises(ValueError, match="several runs with the same seeds: a, b; leave all but one out of --runs"):
        pivot_table([record(run_id="a"), record(run_id="b")], ["method"], "imbalance", "few")
