"""Tables of average ranks, and figures beside tables."""

import re

import pytest
from helpers.samples import metrics, sample
from helpers.studies import run

from lt_bench.figures.kinds.critical_difference import cliques
from lt_bench.files import write_json
from lt_bench.report.__main__ import main as report
from lt_bench.report.frame import frame
from lt_bench.report.ranks import ranks_table
from lt_bench.report.sections import sections

N = ("few", "top1")


def record(method, dataset, top1, **changes):
    names = {"method": method, "method_name": method.upper(), "dataset": dataset}
    made = {**names, "setting_id": f"{method}-{dataset}", "settings": {"method": method}, "metrics": metrics(top1)}
    return sample(**made | changes)


def grid(*rows, **changes):
    """A record of methods a, b, ... on data sets d0, d1, ... each."""
    cells = [(f"d{n}", method, top1) for n, row in enumerate(rows) for method, top1 in zip("abcd", row, strict=False)]
    return [record(method, dataset, top1, **changes) for dataset, method, top1 in cells]


def test_ranks_over_data_sets_by_hand():
    records = [*grid((0.9, 0.8, 0.7), (0.9, 0.7, 0.8), (0.5, 0.5, 0.1)), record("a", "d3", 0.5)]
    table = ranks_table(sections(frame(records)), "top1")
    assert table.cells.iloc[:, :2].to_numpy().tolist() == [["A / CB", "1.17"], ["B / CB", "2.17"], ["C / CB", "2.67"]]
    assert table.values["rank_d2_if20"].tolist() == [1.5, 1.5, 3.0]
    assert table.values["runs"][0].split() == ["a-d0-0-0", "a-d1-0-0", "a-d2-0-0"]
    said = " ".join(table.caption)
    assert "over 3 tables (d0_if20, d1_if20, d2_if20)" in said and "Left out: d3_if20 lacks B / CB, C / CB." in said
    assert "which does not tell the methods apart" in said and not any(table.bold) and "both tests are rough" in said


def test_contributed_runs_are_marked():
    records = grid((0.9, 0.8, 0.7), (0.9, 0.7, 0.8), (0.5, 0.4, 0.1))
    records[4].environment["contributed"] = {"by": "eve", "checked": "nothing"}
    table = ranks_table(sections(frame(records)), "top1")
    assert table.cells["method / stage two"].tolist() == ["A / CB", "B / CB ‡", "C / CB"]
    assert "1 run by eve on cpu" in " ".join(table.caption)


def test_the_best_and_what_is_not_told_from_it_stand_out():
    table = ranks_table(sections(frame(grid(*[(0.9, 0.8 + n % 2 / 5, 0.1) for n in range(10)]))), "top1")
    assert table.bold == [{"mean rank"}, {"mean rank"}, set()] and "rough" not in " ".join(table.caption)


def test_checkpoints_of_the_test_set_and_shared_data_sets():
    flattered = record("d", "d0", 0.9, selection="best_test"), record("d", "d1", 0.9, selection="best_test")
    records = [*grid((0.9, 0.8, 0.7), (0.9, 0.7, 0.8)), *flattered]
    assert len(ranks_table(sections(frame(records)), "top1").cells) == 3
    steep = [record(one.method, "d0", 0.5, imbalance_factor=50.0, run_id=f"{one.method}-50") for one in records[:3]]
    said = " ".join(ranks_table(sections(frame([*records, *steep])), "top1").caption)
    assert "Tables on one data set share images" in said


def folder(tmp_path, records):
    for one in records:
        write_json(tmp_path / "runs" / one.run_id / "record.json", one.to_dict())
    return ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]


def test_the_command_says_what_is_missing_and_writes_the_table(tmp_path, capsys):
    words = folder(tmp_path, grid((0.9, 0.8, 0.7), (0.9, 0.7, 0.8)))
    assert report([*words, "--ranks"]) == 0
    assert (tmp_path / "out" / "ranks_top1.md").exists() and "1.00" in capsys.readouterr().out
    assert report([*words, "--ranks", "few", "ece", "--where", "dataset=d0"]) == 1
    assert re.search(r"--ranks by few: average ranks need 3 methods and 2 .*--where method=A", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        report([*words, "--ranks", "--rows", "method", "--cols", "dataset"])


def test_figures_stand_beside_the_tables_and_in_pages(tmp_path, capsys):
    methods = [("a", 0), ("b", 1), ("c", 2)]
    records = []
    for name, seed in methods:
        for dataset in ("d0", "d1"):
            made = run(classes=6, seed=seed).record.metrics
            records.append(record(name, dataset, 0.5, metrics=made, group_rule="count_100_20"))
    words = folder(tmp_path, records)
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("<!-- table: d0_if20 -->\n<!-- /table -->\n<!-- table: ranks_top1 -->\n<!-- /table -->\n")
    kinds = ["--figures", "group_bars", "critical_difference"]
    assert report([*words, "--ranks", "--where", "dataset=d0,d1", *kinds, "--pages", str(page)]) == 0
    made = {path.name for path in (tmp_path / "out").glob("*.svg")}
    assert made == {"d0_if20_group_bars.svg", "d1_if20_group_bars.svg", *(f"critical_difference_{n}.svg" for n in N)}
    links = re.findall(r"!\[[^\]]+\]\((\S+)\)", page.read_text(encoding="utf-8"))
    assert links == ["../out/d0_if20_group_bars.svg", "../out/critical_difference_top1.svg"]
    assert all((page.parent / link).exists() for link in links)
    table = (tmp_path / "out" / "d1_if20.md").read_text(encoding="utf-8")
    assert table.count("](d1_if20_group_bars.svg)") == 1 and "d0" not in table
    assert report([*words, "--figures", "pie"]) == 1
    assert "--figures pie: it takes class_accuracy, " in capsys.readouterr().err


def test_methods_that_are_no_critical_difference_apart_are_joined_once():
    assert cliques([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert cliques([1.0, 1.2, 1.4], 1.0) == [(0, 2)] and cliques([1.0, 3.0], 1.0) == []
