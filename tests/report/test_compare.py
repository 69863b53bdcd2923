"""`report compare`: pairs of runs with equal seeds, what they allow to say, and what is no pair."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.samples import metrics, predictions, runs, sample
from scipy import stats

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.files import write_json
from lt_bench.report.__main__ import main as report
from lt_bench.report.comparison import compare
from lt_bench.report.sides import read_sides
from lt_bench.report.statistics import bootstrap

CE = {"setting_id": "ce", "method": "ce", "method_name": "CE", "settings": {"method": "ce"}}
COUNTS = [200, 90, 50, 15, 8, 3]
LABELS = np.arange(120) % 6


def predicted(seed, lead=1.0):
    logits = np.random.RandomState(seed).normal(size=(120, 6)) + lead * np.eye(6)[LABELS]
    return predictions(logits, LABELS, COUNTS, "count_100_20")


def store(place, seed, lead, made=None, **changes):
    made = predicted(seed, lead) if made is None else made
    record = sample(**{"seed": seed, "metrics": evaluate(made), "group_rule": "count_100_20"} | changes)
    write_json(place / record.run_id / "record.json", record.to_dict())
    save_predictions(place / record.run_id / "predictions.npz", made)
    return place / record.run_id


@pytest.fixture
def stored(tmp_path):
    """Three seeds of SBCL and of CE, which is worse, with predictions."""
    for seed in range(3):
        store(tmp_path / "runs", seed, 1.4)
        store(tmp_path / "runs", seed, 1.0, predicted(seed + 10), **CE)
    return tmp_path / "runs"


def written(tmp_path, records):
    for record in records:
        write_json(tmp_path / "runs" / record.run_id / "record.json", record.to_dict())
    return tmp_path / "runs"


def tables(place, one="method=sbcl", other="method=ce"):
    sides = read_sides([one, other], [place], "test", {"many", "medium", "few", "top1"}, False)
    (first, pairs), sentences = compare(*sides)
    return first.values.set_index("metric"), pairs, sentences


def test_differences_over_seeds_have_the_intervals_of_plain_references(tmp_path):
    points = [(0.60, 0.2), (0.64, 0.3), (0.61, 0.5)], [(0.55, 0.1), (0.60, 0.4), (0.54, 0.2)]
    values, pairs, sentences = tables(written(tmp_path, [*runs(points[0]), *runs(points[1], **CE)]))
    gaps = 100 * (np.array(points[0]) - np.array(points[1]))
    for name, gap in (("top1", gaps[:, 0]), ("few", gaps[:, 1])):
        low, high = stats.ttest_1samp(gap, 0).confidence_interval(0.95)
        row = values.loc[name]
        assert (row["difference"], row["low"], row["high"]) == pytest.approx((gap.mean(), low, high))
        every = [np.mean([a, b, c]) for a in gap for b in gap for c in gap]  # all 27 samples that the bootstrap draws
        assert (row["bootstrap_low"], row["bootstrap_high"]) == pytest.approx(
            np.percentile(every, [2.5, 97.5], method="inverted_cdf")
        )
        assert pd.isna(row["images_low"]) and row["n"] == 3
    assert sentences[3] == "SBCL / CB is above CE / CB by 5.3 points of accuracy; 3 paired seeds tell it from 0 " + (
        "(t: [+1.5, +9.1])."
    )
    assert "above CE / CB by 10.0 points of few-shot accuracy; 3 paired seeds cannot tell it from 0" in sentences[2]
    assert pairs.cells["A alone"].tolist() == ["–"] * 3


def test_the_bootstrap_of_pairs_is_that_of_a_plain_loop():
    points = pd.Series(np.random.RandomState(3).normal(size=8))
    random = np.random.RandomState(7)
    means = [np.mean([points[random.randint(8)] for _ in range(8)]) for _ in range(4000)]
    assert bootstrap(points) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.05)
    assert all(map(np.isnan, bootstrap(points[:1])))


def test_swapping_the_sides_turns_every_sign(stored):
    one, pairs, _ = tables(stored)
    other, turned, sentences = tables(stored, "method=ce", "method=sbcl")
    for name in ("difference", "low", "bootstrap_low", "images_low"):
        high = name.replace("low", "high")
        assert one[name].tolist() == (-other[high]).tolist() and one[high].tolist() == (-other[name]).tolist()
    assert pairs.values["mcnemar_p"].tolist() == turned.values["mcnemar_p"].tolist()
    assert pairs.values["only_a"].tolist() == turned.values["only_b"].tolist()
    assert one.loc["top1", "images_low"] > 0 and "CE / CB is below SBCL / CB" in sentences[3]


def test_words_may_be_longer_than_a_name(stored):
    assert tables(stored, " ".join(["method=sbcl"] * 60))[0].equals(tables(stored)[0])


def test_with_several_splits_a_metric_that_a_run_lacks_is_not_compared(tmp_path):
    seeds = [(split, seed) for split in range(3) for seed in range(2)]
    ours = [sample(split_seed=split, seed=seed) for split, seed in seeds]
    theirs = [sample(split_seed=split, seed=seed, **CE) for split, seed in seeds]
    del ours[3].metrics["ece"]  # as of an older version
    place = written(tmp_path, [*ours, *theirs])
    sides = read_sides(["method=sbcl", "method=ce"], [place], "test", {"ece", "top1"}, False)
    (first, _), sentences = compare(*sides, ["ece"])
    assert pd.isna(first.values.set_index("metric").loc["ece", "difference"])
    assert sentences[-1] == "ECE is not compared: a run does not have it."


def test_a_setting_is_no_different_from_itself(stored):
    values, pairs, sentences = tables(stored, "method=sbcl", "method=sbcl")
    numbers = values[["difference", "low", "high", "bootstrap_low", "bootstrap_high", "images_low", "images_high"]]
    assert (numbers == 0).all(axis=None) and pairs.values["mcnemar_p"].tolist() == [1, 1, 1]
    assert sentences[3] == "A and B are equal in accuracy; 3 paired seeds show no difference."


def test_images_are_those_of_a_slow_bootstrap(stored):
    values, _, _ = tables(stored)
    pair = [(predicted(seed, 1.4).correct, predicted(seed + 10).correct) for seed in range(3)]
    gap = np.mean([one.astype(float) - other for one, other in pair], axis=0)
    random, few = np.random.RandomState(0), []
    for _ in range(2000):
        own = [random.choice(gap[label == LABELS], 20) - gap[label == LABELS].mean() for label in (3, 4, 5)]
        few.append(100 * (gap[LABELS >= 3].mean() + np.mean(own) * (20 / 19) ** 0.5))
    found = values.loc["few", ["images_low", "images_high"]].tolist()
    assert found == pytest.approx(np.percentile(few, [2.5, 97.5]), abs=0.08 * (found[1] - found[0]))


def test_output_is_the_same_for_the_same_records_by_whatever_name(stored, tmp_path, capsys):
    words = [["method=sbcl", "method=ce", "--runs", str(stored)], ["sbcl_cb-0-0", "ce-0-0", "--runs", str(stored)]]
    words.append([str(stored / "sbcl_cb-0-0"), str(stored / "ce-0-0")])
    said = []
    for number, one in enumerate([words[0], *words]):
        assert report(["compare", *one, "--out", str(tmp_path / str(number))]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and max(map(len, said[0].splitlines())) <= 100
    files = [{path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in ("0", "1", "2", "3")]
    assert files[0] == files[1] and set(files[0]) == {f"compare{s}.{k}" for s in ("", "_pairs") for k in ("md", "csv")}
    assert files[2]["compare.csv"] == files[3]["compare.csv"] and "one pair of runs says nothing" in said[2]
    assert b"sbcl_cb-0-0" in files[0]["compare_pairs.csv"]


def test_a_side_may_be_one_set_of_logits(tmp_path, capsys):
    """As a run that evaluates these logits and is compared as it is."""
    for seed in range(3):
        store(tmp_path / "alone", seed, 1.0, predicted(seed + 10, 1.2))
        store(tmp_path / "alone", seed, 1.0, predicted(seed + 20), **CE)
        made = predicted(seed + 30)
        sets = made.logits_by_name | {"expert0": predicted(seed + 10, 1.2).logits}
        store(tmp_path / "runs", seed, 1.0, replace(made, logits_by_name=sets))
        store(tmp_path / "runs", seed, 1.0, predicted(seed + 20), **CE)
    found = tables(tmp_path / "runs", "logits=expert0 method=sbcl")
    alone = tables(tmp_path / "alone")
    assert found[0].equals(alone[0]) and [said.replace(", logits expert0", "") for said in found[2]] == alone[2]
    assert "expert0" in found[2][3] and not found[0].equals(tables(tmp_path / "runs")[0])
    of_folders = [f"{tmp_path / 'runs' / 'sbcl_cb-0-0'} logits=expert0", str(tmp_path / "runs" / "sbcl_cb-0-0")]
    assert report(["compare", *of_folders]) == 0 and "expert0" in capsys.readouterr().out
    for words, said in (
        ("method=sbcl logits=expert7", "3 of its runs have no logits of that name"),
        ("method=ce logits=expert0", "3 of its runs have no logits of that name"),
        ("method=sbcl logits=all", "a side is one set of logits"),
    ):
        assert report(["compare", words, "method=ce", "--runs", str(tmp_path / "runs")]) == 1
        assert said in capsys.readouterr().err


def test_several_splits_count_once_each(tmp_path):
    ours = [(0.51, 0.1), (0.52, 0.1), (0.53, 0.1), (0.54, 0.1)]
    place = written(tmp_path, [*runs(ours, splits=2), *runs([(0.5, 0.1)] * 4, splits=2, **CE)])
    values, _, sentences = tables(place)
    assert (values.loc["top1", "pairs"], values.loc["top1", "n"]) == (4, 2) and "2 splits" in sentences[3]


def test_seeds_without_a_partner_and_unlike_conditions_are_told(tmp_path, capsys):
    ours = [
        replace(one, selection="best_test", backbone="resnet32", settings={**one.settings, "train.epochs": 60})
        for one in runs([(0.5, 0.1)] * 3)
    ]
    place = written(tmp_path, [*ours, *runs([(0.6, 0.2)] * 2, **CE)])
    assert report(["compare", "method=sbcl", "method=ce", "--runs", str(place)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "A has no partner for seed 2 of split 0." in said and "flatters" in said
    assert "in backbone (resnet32 and tiny), epochs (60 and –), selection (best_test and last) as well." in said
    assert "A and B differ" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"seed": 7},
            "no two runs have equal seeds.*A has split seed/seed 0/0, B has 0/7; train A with split_seed=0",
        ),
        ({"dataset": "cifar10_lt"}, "A has dataset digits_lt, B has cifar10_lt: .* such as with dataset=digits_lt"),
        ({"imbalance_factor": 100.0}, "A has imbalance if20, B has if100"),
        ({"settings": {"method": "ce", "dataset.pool_per_class": 9}}, "A has dataset.pool_per_class default, B has 9"),
        ({"evaluated_on": "validation"}, "method=ce: no run; method is one of"),
    ],
)
def test_what_is_no_pair_is_refused_with_what_to_type(changes, said, tmp_path, capsys):
    place = written(tmp_path, [sample(), sample(**CE | changes)])
    assert report(["compare", "method=sbcl", "method=ce", "--runs", str(place)]) == 1
    *_, line = capsys.readouterr().err.splitlines()  # after the files that have no predictions
    assert re.search(said, line)


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (
            "method=sbcl",
            r"of several settings, which differ in train.lr \(0.1, default\); name one.*'method=sbcl",
        ),
        ("sbcl", "2 runs begin with that; name a run's id"),
        ("nothing", "there is no such folder, and no run of that id"),
        ("method=paco", "compare method=paco: no run; method is one of"),
    ],
)
def test_a_side_is_one_setting(side, said, tmp_path, capsys):
    other = sample(setting_id="sbcl_lr", settings={"method": "sbcl", "train.lr": 0.1})
    place = written(tmp_path, [sample(), other, sample(**CE)])
    assert report(["compare", side, "ce-0-0", "--runs", str(place)]) == 1
    assert re.search(said, capsys.readouterr().err)
    assert report(["compare", "method=sbcl train.lr=default", "ce", "--runs", str(place)]) == 0


def test_groups_by_different_rules_and_other_images_are_not_compared(stored, tmp_path, capsys):
    store(tmp_path / "other", 0, 1.0, predictions(predicted(1).logits, LABELS, COUNTS), **CE, group_rule="thirds")
    _, _, sentences = tables(tmp_path, str(stored / "sbcl_cb-0-0"), str(tmp_path / "other"))
    assert sentences[2] == "Few-shot accuracy is not compared: the two group their classes by different rules."
    assert "for these runs it" in sentences[3]
    moved = predictions(predicted(1).logits[::-1], LABELS[::-1], COUNTS, "count_100_20")
    store(tmp_path / "moved", 0, 1.0, moved, **CE)
    assert report(["compare", str(stored / "sbcl_cb-0-0"), str(tmp_path / "moved")]) == 1
    assert "predictions on other test images: they are no pair" in capsys.readouterr().err


def test_draws_of_the_shots_on_one_model_are_one_run(tmp_path):
    drawn = [{"method": "ce", "stage_two.shot_seed": draw} for draw in (0, 1)]
    for name, lead in (("a", 1.4), ("b", 1.0)):
        for draw in (0, 1):
            where = {"setting_id": name, "run_id": f"{name}{draw}", "method_name": name, "method": name}
            store(tmp_path / "runs", 0, lead, predicted(draw, lead), **where, settings=drawn[draw])
    values, pairs, _ = tables(tmp_path / "runs", "method=a", "method=b")
    assert values.loc["top1", "pairs"] == 1 and values.loc["top1", "images_low"] < values.loc["top1", "difference"]
    assert pairs.values["a"].tolist() == ["a0 a1"]


def test_further_metrics_are_compared_over_pairs(tmp_path, capsys):
    low = [replace(one, metrics=metrics(0.5) | {"ece": 0.1 + one.seed / 100}) for one in runs([(0.5, 0.1)] * 3)]
    place = written(tmp_path, [*low, *runs([(0.5, 0.1)] * 3, **CE)])
    assert report(["compare", "method=sbcl", "method=ce", "--runs", str(place), "--metric", "ece"]) == 0
    assert "SBCL / CB is below CE / CB by 39.0 points of ECE" in capsys.readouterr().out


def test_a_difference_that_rounds_to_nothing_says_so(tmp_path, capsys):
    ours = [
        replace(one, metrics=metrics(0.5002 + one.seed / 10**5) | {"nll": 1.0001}) for one in runs([(0.5, 0.1)] * 3)
    ]
    theirs = [replace(one, metrics=metrics(0.5) | {"nll": 1.0}) for one in runs([(0.5, 0.1)] * 3, **CE)]
    place = written(tmp_path, [*ours, *theirs])
    assert report(["compare", "method=sbcl", "method=ce", "--runs", str(place), "--metric", "nll"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "above CE / CB by less than 0.05 points of accuracy; 3 paired seeds tell it from 0 (t: [+0.02, +0.02])" in said
    )
    assert "above CE / CB by less than 0.0005 nats of NLL; 3 paired seeds tell it from 0 (t: [+0.0001, " in said
