"""CE and Balanced Softmax with the augmentation and decay of other rows: first in a table, or the command for them."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.composed import composed, config_of
from helpers.samples import sample

from lt_bench.launch.planning.plan import expand
from lt_bench.record.collect import read_records
from lt_bench.record.record import RunRecord
from lt_bench.report.__main__ import main
from lt_bench.report.baselines import Footing, footing, with_baselines, without_baselines
from lt_bench.report.frame import frame
from lt_bench.report.sections import Section, sections

ROOT = Path(__file__).parents[2]
WHERE = "dataset=cifar100_lt imbalance=if100"
VIEWS = "method.views=[autoaugment_cutout] train.optimizer.weight_decay=5e-4"


def section_of(*records: RunRecord) -> Section:
    (part,) = sections(frame(records))
    return part


def titles(*records: RunRecord) -> list[str]:
    return [row.fields["method_name"] for row in section_of(*records).rows]


def test_a_footing_is_the_first_view_and_the_decay_with_their_defaults() -> None:
    assert footing(composed(f"method=bcl {WHERE}").settings) == Footing("autoaugment_cutout", 5e-4, "none")
    assert footing(composed(f"method=ce {WHERE}").settings) == Footing("crop_flip", 2e-4, "none")
    no_decay = composed(f"method=ce {WHERE} train.optimizer.weight_decay=0").settings
    assert footing(no_decay) == Footing("crop_flip", 0.0, "none")
    scenes = composed("method=region_rebalance dataset=digit_scenes").settings
    for unknown in (scenes, {}, {"method._target_": "no.such"}, {"method._target_": 3, "method.views": "plain"}):
        assert footing(unknown) is None


def test_baselines_stand_first() -> None:
    records = [sample(setting_id=m, method=m, method_name=n) for m, n in (("ldam_drw", "LDAM-DRW"), ("ce", "CE"))]
    records.append(sample(setting_id="b", method="balanced_softmax", method_name="Balanced Softmax"))
    assert titles(*records) == ["CE", "Balanced Softmax", "LDAM-DRW"]


def test_the_command_of_a_line_makes_the_baselines_that_are_not_there() -> None:
    words = "dataset=fashion_mnist_lt imbalance=if50 backbone=resnet8_cifar backbone.input_pool=2"
    words += " dataset.pool_per_class=1000 budget=short"
    bcl = [composed(f"method=bcl {words} train.optimizer.weight_decay=1e-3", seed, budget="short") for seed in (0, 2)]
    (line,) = without_baselines(section_of(*bcl))
    said, _, command = line.partition("; to make them: ")
    assert said == "No CE and Balanced Softmax with the view autoaugment_cutout and the weight decay 0.001 of BCL"
    assert command.startswith("python -m lt_bench -m ")
    runs = [" ".join(run) for run in expand(shlex.split(command)[4:])]
    made = [composed(run.partition(" seed=")[0], int(run[-1]), budget="short") for run in runs]
    assert sorted((one.method, one.seed) for one in made) == sorted(
        (method, seed) for method in ("ce", "balanced_softmax") for seed in (0, 2)
    )
    whole = section_of(*bcl, *made)  # one table, which is to say the same conditions
    assert without_baselines(whole) == [] and len(whole.rows) == 3
    assert config_of(runs[0]).method["views"] == ["autoaugment_cutout"]


def test_a_line_names_each_method_once_and_not_all_of_many() -> None:
    several = [composed(f"method={name} {WHERE} train.lr={lr}") for name in ("bcl", "paco") for lr in (0.1, 0.2)]
    (said,) = (line.partition(";")[0] for line in without_baselines(section_of(*several)))
    assert said.endswith(" of BCL, PaCo")
    bcl = composed(f"method=bcl {WHERE}")
    many = [replace(bcl, setting_id=f"s{n}", run_id=f"r{n}", method=f"m{n}", method_name=f"M{n}") for n in range(9)]
    (said,) = (line.partition(";")[0] for line in without_baselines(section_of(*many)))
    assert said.endswith(" of M0, M1, M2, M3, 5 more")


def test_an_encoder_that_learns_without_labels_has_no_baseline_with_its_view_and_decay() -> None:
    for method in ("simclr", "boosted_cl", "simclr_gh"):
        probe = composed(f"method={method} {WHERE} stage_two=linear_probe")
        assert footing(probe.settings) is None and without_baselines(section_of(probe)) == []
    own = {**composed(f"method=bcl {WHERE}").settings, "method._target_": "no_such_file.Own"}
    own["method.views"] = ["plain"]
    assert footing(own) is not None  # nobody knows the class


def test_a_method_that_is_fine_tuned_asks_for_baselines_that_are_fine_tuned_alike() -> None:
    vit = "dataset=cifar100_lt imbalance=if100 backbone=vit_small"
    lift = composed(f"method=lift {vit}")
    assert footing(lift.settings) == Footing("lift", 5e-4, "adaptformer")
    (line,) = without_baselines(section_of(lift))
    said, _, command = line.partition("; to make them: ")
    assert said.endswith(" and finetune=adaptformer of LIFT")
    made = [composed(" ".join(run)) for run in expand(shlex.split(command)[4:])]
    assert without_baselines(section_of(lift, *made)) == [] and len(made) == 2
    whole = composed(f"method=ce {vit} 'method.views=[lift]' train.optimizer.weight_decay=5e-4".replace("'", ""))
    assert with_baselines([lift], [lift, whole, *made], ["method=lift"]) == [lift, *made]


def test_a_table_of_baselines_of_smoke_or_of_unknown_views_asks_for_nothing() -> None:
    assert without_baselines(section_of(composed(f"method=ce {WHERE}"))) == []
    assert without_baselines(section_of(composed(f"method=bcl {WHERE}", budget="smoke"))) == []
    assert without_baselines(section_of(sample())) == []
    foreign = composed(f"method=bcl {WHERE}", dataset="theirs")
    assert (
        "a sweep over method=ce,balanced_softmax with your dataset=theirs" in without_baselines(section_of(foreign))[0]
    )


def test_a_choice_of_methods_keeps_the_baselines_on_their_footing() -> None:
    bcl, fair = composed(f"method=bcl {WHERE}"), composed(f"method=balanced_softmax {WHERE} {VIEWS}")
    others = [composed(f"method=ce {WHERE}"), composed(f"method=ce {WHERE.replace('100_', '10_')} {VIEWS}")]
    records = [bcl, fair, *others]
    assert with_baselines([bcl], records, ["method=bcl"]) == [bcl, fair]
    assert with_baselines([bcl], records, ["method=bcl", "seed=0"]) == [bcl, fair]
    assert with_baselines([], records, ["method=bcl"]) == []


def test_a_chosen_setting_is_that_of_the_baselines_where_they_have_it() -> None:
    bcl = composed(f"method=bcl {WHERE} train.lr=0.1")
    fair = [composed(f"method=balanced_softmax {WHERE} {VIEWS} train.lr={lr}") for lr in (0.1, 0.2)]
    records = [bcl, *fair]
    assert with_baselines([bcl], records, ["method=bcl", "train.lr=0.1"]) == [bcl, fair[0]]
    assert with_baselines([bcl], records, ["method=bcl", "method.temperature=0.1"]) == records
    assert with_baselines([bcl], records, ["method=bcl"]) == records


@pytest.mark.parametrize("chosen", [["method=bcl", "train.lr=0.1"], ["method=ce,sbcl", "stage_two=cb", "train.lr=0.1"]])
def test_cells_of_axes_have_the_chosen_runs_alone(
    chosen: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuning = str(ROOT / "results" / "records" / "fashion_tuning.jsonl")
    words = ["--runs", tuning, "--evaluated-on", "validation", "--out", str(tmp_path), "--where", *chosen]
    assert main([*words, "--rows", "method", "--cols", "imbalance"]) == 0
    assert "Balanced Softmax" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [["method=bcl"], ["method=bcl", "seed=0"]])
def test_the_command_line_shows_them_and_exports_them_not(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(ROOT / "results" / "records" / "fashion_study.jsonl")
    export = tmp_path / "bcl.jsonl"
    assert main(["--runs", study, "--out", str(tmp_path), "--export", str(export), "--where", *words]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^ Balanced Softmax / .*^ BCL", printed, re.DOTALL | re.MULTILINE) and "No CE with" in printed
    assert {record.method for record in read_records([export])} == {"bcl"}
