"""Published beside reproduced: what stands beside which row, the difference, and every difference of protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.composed import composed
from helpers.samples import sample

from lt_bench.files import write_json
from lt_bench.published.entries import by_id, find
from lt_bench.record.record import RunRecord
from lt_bench.report.__main__ import main
from lt_bench.report.formats import FORMATS, as_text
from lt_bench.report.frame import frame
from lt_bench.report.matching import asked_for, beside, meant
from lt_bench.report.published import published_table, published_tables
from lt_bench.report.sections import Section, sections
from lt_bench.report.tables import Table

BCL = "method=bcl dataset=cifar100_lt imbalance=if100 backbone=resnet32_cifar"
OFBD, DBM = (f"bcl-none-cifar100_lt-100-resnet32_cifar-{name}" for name in ("ofbd_t1", "dbm_t2"))


def section_of(*records: RunRecord) -> Section:
    (part,) = sections(frame(records))
    return part


def three(words: str) -> list[RunRecord]:
    return [composed(words, seed, top1) for seed, top1 in enumerate((0.50, 0.51, 0.52))]


def table_of(*records: RunRecord) -> Table:
    return published_table(section_of(*records))


def note(table: Table, text: str) -> str:
    (found,) = (one for one in table.notes if text in one)
    return found


def test_published_results_are_there_before_anything_was_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--published", "--where", "dataset=cifar100_lt", "method=bcl"]) == 0
    assert "BCL / –" in capsys.readouterr().out and list(Path("runs", "tables").glob("*_not_run.md"))
    for runs, words in ((["--runs", "nowhere"], []), ([], ["datset=cifar100_lt"]), ([], ["dataset=nothing"])):
        assert main([*runs, "--published", *["--where"] * bool(words), *words]) == 1
        assert "nowhere" in (said := capsys.readouterr().err) or "keys are method, dataset" in said


@pytest.mark.parametrize(
    "words",
    [["--cost"], ["--ranks"], ["--metric", "nll"], ["--baseline", "CE"], ["--rows", "method", "--cols", "seed"]],
)
def test_published_tables_leave_no_flag_out_unsaid(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text(json.dumps(composed(BCL).to_dict()), encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["--runs", str(tmp_path), "--published", *words])
    assert left.value.code == 2


def test_ours_theirs_difference_and_spread_by_hand() -> None:
    table = table_of(*three(BCL))
    line = table.values.set_index("published").loc[OFBD]
    assert (line["top1_mean"], line["top1_std"], line["n"]) == (pytest.approx(51.0), pytest.approx(1.0), 3)
    assert (line["top1_theirs"], line["top1_difference"]) == (51.84, pytest.approx(51.0 - 51.84))
    assert line["few_difference"] == pytest.approx(20.0 - 33.07)
    assert line["source"].startswith("OFBD") and line["where"] == "Table 1" and len(line["runs"].split()) == 3
    cells = table.cells.iloc[0]
    assert (cells["all"], cells["all, theirs"], cells["all, difference"]) == ("51.0 ± 1.0", "51.84", "-0.8")


def test_what_stands_beside_a_run_is_what_its_recipe_and_experiments_name() -> None:
    part = section_of(composed(BCL))
    found = beside(part, part.rows[0])
    assert {one.id for one in found} >= {OFBD, DBM}
    assert set(found) <= set(meant("bcl", "cifar100_lt"))
    known = {"stage_two": "none", "dataset": "cifar100_lt", "imbalance": "if100", "backbone": "resnet32_cifar"}
    assert set(found) == set(find("bcl", **known, epochs=200))


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"method._target_": "my_file.BCL", "dataset._target_": "lt_bench.data.sources.cifar.load"}},
        {"settings": {}},
        {"imbalance_profile": "step"},
        {"imbalance_factor": 37.0},
        {"stage_two": "lws"},
        {"method": "my_bcl"},
    ],
)
def test_nothing_stands_beside_what_may_be_something_else(changes: dict[str, object]) -> None:
    part = section_of(composed(BCL, **changes))
    assert beside(part, part.rows[0]) == []


@pytest.mark.parametrize(
    ("words", "method", "variant"),
    [
        ("method=ce mixing=cmo", "ce", "cmo"),
        ("method=ce mixing=mixup", "ce", "mixup"),
        ("method=ldam_drw mixing=cmo train.lr=0.3", "ldam_drw", "cmo"),
        ("method=ce variant=strong", "ce", None),
    ],
)
def test_results_of_a_method_with_a_component_stand_beside_its_runs_alone(
    words: str, method: str, variant: str | None
) -> None:
    part = section_of(composed(f"{words} dataset=cifar100_lt imbalance=if100"))
    found = beside(part, part.rows[0])
    known = find(method, plain=False, dataset="cifar100_lt", imbalance="if100", stage_two="none")
    assert found and {(one.method, one.variant) for one in found} == {(method, variant)}
    assert variant is None or set(found) == {one for one in known if one.variant == variant}
    line = published_table(part).values.set_index("published").loc[found[0].id]
    assert ("here learning rate 0.3" in line["protocol"]) == ("train.lr" in words)


@pytest.mark.parametrize(
    ("words", "figures"),
    [
        ("method=ride", {48.0, 48.82, 49.0}),
        ("method=ride stage_two=router", {48.6}),
        ("method=glmc", {57.97}),
        ("method=mislas", {47.0}),
    ],
)
def test_a_method_of_several_parts_has_the_figures_of_its_plain_form(words: str, figures: set[float]) -> None:
    part = section_of(composed(f"{words} dataset=cifar100_lt imbalance=if100"))
    assert {one.all for one in beside(part, part.rows[0])} == figures


@pytest.mark.parametrize(
    "words",
    [
        "method=ce mixing=remix",  # another form is published
        "method=ce mixing=cmo finetune=full backbone=vit_small",
        "method=ce finetune=lora backbone=vit_small",
        "method=gcl mixing=none dataset=places_lt",
    ],
)
def test_nothing_stands_beside_components_that_nobody_has_published(words: str) -> None:
    part = section_of(composed(f"dataset=cifar100_lt {words}"))
    assert beside(part, part.rows[0]) == []


def test_published_results_are_asked_for_by_the_name_of_a_run_with_a_component() -> None:
    named = asked_for(["method=ce_cmo", "dataset=cifar100_lt"])
    assert {(one.method, one.variant) for one in named} == {("ce", "cmo")}
    assert set(named) < set(asked_for(["method=ce", "dataset=cifar100_lt"]))


def test_every_difference_of_protocol_is_spelled_out() -> None:
    words = f"{BCL.replace('resnet32', 'resnet18')} train.epochs=400 method.temperature=0.2 evaluation.select=best_test"
    table = table_of(composed(words))
    said = note(table, "] BCL, DBM")
    for text in ("epochs 400 here, 200 there", "network resnet18_cifar here, resnet32_cifar there"):
        assert text in said
    assert "here temperature 0.2" in said and "not stated there: checkpoint" in said
    assert "batch 256, views autoaugment_cutout, sim_blur, sim_blur, 10,000 test images" in said
    assert f"there «{by_id()[DBM].protocol}»" in said
    assert table.values.set_index("published").loc[DBM, "protocol"] in said


def test_groups_of_another_or_an_unknown_rule_are_not_subtracted() -> None:
    unknown = next(one for one in meant("bcl", "cifar100_lt") if one.many and not one.groups and one.factor == 100)
    line = table_of(composed(BCL)).values.set_index("published").loc[unknown.id]
    assert line["few_theirs"] == unknown.few and line["few_difference"] != line["few_difference"]
    other = table_of(composed(BCL, group_rule="thirds")).values.set_index("published").loc[OFBD]
    assert other["few_difference"] != other["few_difference"] and other["top1_difference"] == pytest.approx(-1.84)
    assert "groups thirds here, count_100_20 there" in other["protocol"]


def test_sources_that_contradict_each_other_are_named_with_their_figures() -> None:
    said = note(table_of(composed(BCL)), "have different figures")
    assert said.startswith("Sources of BCL / – have different figures on all images: 50.23 [2], 51.84 [1], ")


def test_cells_that_nobody_has_published_are_visible() -> None:
    looked = composed("method=gpaco dataset=cifar100_lt imbalance=if100")
    unknown = composed("method=ce stage_two=ncm dataset=cifar100_lt imbalance=if50")
    assert table_of(looked).cells["method / stage two"].tolist() == ["GPaCo / –: none found"]
    table = table_of(unknown)
    assert "CE / NCM" in note(table, "Nothing published was found of") and table.values["published"][0] == "none found"
    digits = table_of(composed("method=ce dataset=digits_lt"))
    assert digits.values["published"][0] == "none known" and digits.notes == []


def test_what_was_not_run_is_listed_with_its_range_and_what_was_run_is_not() -> None:
    asked = find("bcl", dataset="cifar100_lt", plain=False)
    _, listed = published_tables([section_of(composed(BCL))], asked)
    left = {one.id for one in asked} - set(published_table(section_of(composed(BCL))).values["published"])
    assert listed.name == "cifar100_lt_published_not_run" and set(listed.values["published"]) == left != set()
    assert listed.cells.columns.tolist()[0] == "method / stage two"
    line = listed.cells.set_index("method / stage two").loc["BCL / –"]
    figures = sorted(one.all for one in asked if one.imbalance == "if10" and one.all)
    assert line["if10"] == f"{figures[0]:g}–{figures[-1]:g} ({len(figures)})"


@pytest.mark.parametrize("name", FORMATS)
def test_notes_and_figures_stand_in_every_format(name: str) -> None:
    pytest.importorskip("pyarrow") if name == "parquet" else None
    content = FORMATS[name].content(table_of(composed(BCL)))
    if isinstance(content, str):
        assert "51.84" in content and "OFBD" in content and "different figures" in content or name == "csv"
    assert max(map(len, as_text(table_of(composed(BCL))).splitlines())) <= 100


def test_the_command_line_shows_published_results_with_and_without_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "runs" / "a" / "record.json", sample().to_dict())
    words = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "tables"), "--published", "--where"]
    assert main([*words, "dataset=cifar100_lt", "method=bcl", "imbalance=100"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"BCL / – +50\.23–53\.9 \(\d\)", printed) and "SBCL" not in printed
    assert main([*words, "dataset=digits_lt"]) == 0
    assert "none known" in capsys.readouterr().out
    for wrong, said in (("dataset=cifar9", "dataset is one of"), ("methd=bcl", "no run has methd"), ("bcl", "KEY=")):
        assert main([*words, wrong]) == 1 and said in capsys.readouterr().err
