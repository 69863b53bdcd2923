"""Every method and stage-two rule in conf/: repeatable bit for bit, and exact after being killed at any step."""

import itertools
import json

import pytest
import torch
from helpers.chain import (
    Killed,
    assert_identical,
    curves,
    execute,
    kill_after,
    killed_until_done,
    results,
    rules_of,
    tiny,
)
from helpers.sampling import each_value_once, methods_for

from lt_bench.config.compose import groups
from lt_bench.engine.loop import Trainer
from lt_bench.methods.sbcl import SBCL
from lt_bench.record.curves import CURVES, CurvesFile, read_curves
from lt_bench.record.identity import stage_one_id
from lt_bench.run.summary import summary

PAIRS = [(method, rule) for method in methods_for() for rule in rules_of(method)]


def test_every_rule_is_in_some_pair():
    assert {rule for _, rule in PAIRS} == set(groups()["stage_two"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Results of runs that nothing has killed, each done once, on one stage one for all its rules."""
    folder, known = tmp_path_factory.mktemp("undisturbed"), {}

    def of(*words):
        if words not in known:
            known[words] = results(*execute(tiny(folder, *words)))
        return known[words]

    return of


@pytest.fixture(scope="module")
def killed_folder(tmp_path_factory):
    """Where every rule of a method goes on from the stage one that was killed under its first rule."""
    return tmp_path_factory.mktemp("killed")


@pytest.mark.parametrize(("method", "rule"), each_value_once(PAIRS, of_families=True, in_all=True))
def test_killed_again_and_again_ends_as_if_undisturbed(method, rule, undisturbed, killed_folder, monkeypatch):
    # three steps an epoch, so that also a recipe of few epochs dies more than once
    words = (f"method={method}", f"stage_two={rule}", "checkpoint.every_steps=2", "budget.max_steps_per_epoch=3")
    words += (
        ("stage_two.train.epochs=4",) if rule.endswith("probe") or rule == "router" else ()
    )  # as many as it is killed in
    config = tiny(killed_folder, *words)
    new = not (killed_folder / stage_one_id(config)).exists()
    # one step beyond the checkpoint, so every second step is taken twice
    killed, outcome = killed_until_done(config, monkeypatch, steps=3)
    expected = undisturbed(*words)
    assert killed.count("stage one") >= (2 if new else 0)
    assert ("stage two" in killed) == ("stage two" in expected)
    assert_identical(results(*outcome), expected)


@pytest.mark.parametrize(
    ("method", "steps"),
    each_value_once(itertools.product(methods_for(), range(1, 6)), of_families=True, in_all=True),
)
def test_killed_once_after_any_step_of_stage_one(method, steps, undisturbed, tmp_path, monkeypatch):
    words = (f"method={method}", f"stage_two={rules_of(method)[0]}", "checkpoint.every_steps=1")
    config = tiny(tmp_path, *words)
    with monkeypatch.context() as patch:
        kill_after(patch, steps)
        with pytest.raises(Killed):
            execute(config)
    assert_identical(results(*execute(config)), undisturbed(*words))


def test_killed_inside_a_cluster_update(tmp_path, monkeypatch):
    words = ("method=sbcl", "method.clustering=kmeans_official", "checkpoint.every_steps=1")
    undisturbed = results(*execute(tiny(tmp_path / "undisturbed", *words)))
    update, deaths = SBCL.update, 0

    def dies(self, epoch, run):
        nonlocal deaths
        update(self, epoch, run)
        self.class_temperatures.zero_()
        deaths += 1
        if deaths <= 2:
            raise Killed

    config = tiny(tmp_path / "killed", *words)
    with monkeypatch.context() as patch:
        patch.setattr(SBCL, "update", dies)
        for _ in range(2):
            with pytest.raises(Killed):
                execute(config)
    assert deaths == 2
    assert_identical(results(*execute(config)), undisturbed)


def test_killed_between_the_stages_and_while_the_record_is_written(tmp_path, monkeypatch):
    undisturbed = results(*execute(tiny(tmp_path / "undisturbed")))
    config = tiny(tmp_path / "killed")

    def dies(*words):
        raise Killed

    for name in ("predictions.embed_plain", "stages.save_predictions", "stages.evaluate"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lt_bench.run.{name}", dies)
            with pytest.raises(Killed):
                execute(config)
    assert_identical(results(*execute(config)), undisturbed)


def test_another_seed_gives_other_weights(tmp_path):
    first, other = (results(*execute(tiny(tmp_path, f"seed={seed}"))) for seed in (0, 1))
    name = next(name for name in first["stage one"] if name.endswith("weight"))
    assert not torch.equal(first["stage one"][name], other["stage one"][name])


def test_curves_of_a_killed_run_are_those_of_an_undisturbed_one(tmp_path, monkeypatch):
    """Also where the kill falls right after a line, before the checkpoint that goes on after it, or before the line."""
    words = ("method=ce", "stage_two=cb", "dataset.validation_per_class=20", "evaluation.select=best_validation")
    words += ("checkpoint.every_steps=1", "stage_two.train.epochs=3", "train.epochs=3")
    record, folder = execute(tiny(tmp_path / "undisturbed", *words))
    expected = curves(record, folder)
    assert [(row["stage"], row["epoch"]) for row in expected] == [
        (stage, epoch) for stage in ("stage one", "stage two") for epoch in range(3)
    ]
    assert {"loss", "accuracy", "lr"} <= expected[0].keys() and "selection_score" in expected[-1]
    config, deaths = tiny(tmp_path / "killed", *words), []
    write = CurvesFile.write

    def dies(self, epoch, values):
        for when in ("before", "after"):
            if (self.stage, epoch, when) not in deaths:
                deaths.append((self.stage, epoch, when))
                if when == "after":
                    write(self, epoch, values)
                raise Killed
        write(self, epoch, values)

    monkeypatch.setattr(CurvesFile, "write", dies)
    while True:
        try:
            again = execute(config)
            break
        except Killed:
            continue
    assert len(deaths) == 12
    assert curves(*again) == expected
    assert again[0].epochs == record.epochs
    assert all(row["images_per_second"] > 0 for row in read_curves(again[1] / CURVES))


def test_the_chosen_epoch_is_the_best_line_and_stands_in_the_record(tmp_path):
    common = ("method=ce", "dataset.validation_per_class=20", "train.epochs=3")
    for rule, select in (("cb", "best_validation"), ("none", "best_test")):
        typed = ("stage_two.train.epochs=4",) if rule == "cb" else ()
        record, folder = execute(tiny(tmp_path, *common, f"stage_two={rule}", f"evaluation.select={select}", *typed))
        key = "stage_two.train" if rule == "cb" else "train"
        rows = read_curves((folder if rule == "cb" else folder.parent / record.stage_one_id) / CURVES)
        scores = [row["selection_score"] for row in rows]
        best = scores.index(max(scores))
        assert record.epochs["chosen"] == {
            key: {"epoch": best, "score": scores[best], "on": select.removeprefix("best_")}
        }
        assert f"epoch chosen: {select} (epoch {best + 1})" in summary(record, folder)
    last = execute(tiny(tmp_path, *common, "stage_two=none"))
    assert "chosen" not in last[0].epochs and "selection_score" not in json.dumps(curves(*last))


def test_stage_one_is_trained_once_for_all_rules(tmp_path, monkeypatch):
    trained = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: trained.append(self.stage.name) or fit(self))
    records = [execute(tiny(tmp_path, "method=ce", f"stage_two={rule}"))[0] for rule in ("none", "cb", "ldam_drw")]
    assert trained == ["stage one", "stage two", "stage two"]
    assert len({record.stage_one_id for record in records}) == 1
    assert len({record.run_id for record in records}) == 3
