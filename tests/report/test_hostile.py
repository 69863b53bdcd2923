"""No record costs a report, whatever its names and values are, and every table has a file of its own."""

import json
import logging
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from helpers.samples import metrics, sample

from lt_bench.files import write_atomic, write_json
from lt_bench.record.collect import read_records
from lt_bench.record.conditions import file_name, shortened
from lt_bench.record.record import RunRecord
from lt_bench.report.__main__ import main
from lt_bench.report.escape import markdown
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.report.tables import accuracy_table, named_apart

TEXTS = ["", "x" * 400, "τ" * 400, "# a", "- a", "1. a", "a\nb", "a\r\n| - |", "a|b", "<b>&amp;", "../../etc/passwd",
         "..", "-rf", "con", "\x1b[2J", "\ud800", "a/b", "=1+1", "`", "_a_", "$x$", "   ", "NaN", "null"]  # fmt: skip
VALUES: list[Any] = [*TEXTS, 2**70, -1, 1e308, [], {}, [[1]], {"a": {"b": 1}}, True, None, 0.5, ["x" * 400]]
FIELDS = [*sample().to_dict()]


def runs_folder(folder: Path, *records: dict[str, Any]) -> list[str]:
    for number, values in enumerate(records):
        path = folder / "runs" / str(number) / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    return ["--runs", str(folder / "runs"), "--out", str(folder / "tables")]


def changed(field: str, value: Any) -> dict[str, Any]:
    return {**sample(setting_id="odd", run_id="odd").to_dict(), field: value}


def test_odd_values_of_all_fields_cost_no_other_record(tmp_path, capsys):
    values = [VALUES[7 * place % len(VALUES)] for place in range(len(FIELDS))]
    odd = [
        {**sample(run_id=f"odd {place}", setting_id=f"odd {place}").to_dict(), field: value}
        for place, (field, value) in enumerate(zip(FIELDS, values, strict=True))
    ]
    assert main(runs_folder(tmp_path, sample().to_dict(), *odd)) == 0
    assert " SBCL / CB" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_no_value_of_a_field_costs_the_other_records(field, tmp_path, capsys):
    for number, value in enumerate(VALUES):
        words = runs_folder(tmp_path / str(number), sample().to_dict(), changed(field, value))
        assert main(words) == 0, value
        shown = capsys.readouterr()
        assert " SBCL / CB" in shown.out and "\x1b" not in shown.out + shown.err, value
        assert all(len(line) < 2000 for line in shown.err.splitlines())


KEYS = ["stage_two.shot_seed", "train.epochs", "dataset.train_list", "dataset.content.train", "method._target_",
        "evaluation.split", "", ".", "\n# x", "k" * 400]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_no_setting_costs_the_other_records(key, tmp_path, capsys):
    for number, value in enumerate(VALUES):
        words = runs_folder(tmp_path / str(number), sample().to_dict(), changed("settings", {key: value}))
        assert main(words) == 0, value
        assert " SBCL / CB" in capsys.readouterr().out, value


def test_a_title_with_lines_and_signs_stays_in_its_cell():
    for text in set(TEXTS) - {"\ud800"}:  # which is not read
        records = [sample(), sample(setting_id="odd", method_name=text, stage_two_name=text)]
        (part,) = sections(frame(records))
        caption, *lines = accuracy_table(part).markdown().strip().split("\n\n")
        head, rule, *rows = lines[-1].splitlines()
        assert len(rows) == 2 and len({len(re.findall(r"(?<!\\)\|", row)) for row in (head, rule, *rows)}) == 1
        assert not re.match(r"#|- |1\. ", caption) and max(map(len, rows)) < 700


@pytest.mark.parametrize(
    ("text", "shown"),
    [("# a", "\\# a"), ("- a", "\\- a"), ("1. a", "1\\. a"), ("---", "\\---"), ("#a", "#a"), ("-1.5", "-1.5"),
     ("_a_ b_c", "\\_a\\_ b_c"), ("$x$", "\\$x\\$")],
)  # fmt: skip
def test_markdown_of_what_begins_a_block(text, shown):
    assert markdown(text) == shown


def test_long_texts_differ_where_they_are_shortened():
    assert shortened("x" * 120) == "x" * 120
    one, other = shortened("x" * 400), shortened("x" * 399 + "y")
    assert one != other and len(one) == len(other) == 120
    assert len(file_name("τ" * 400).encode()) <= 150 and file_name("..-a") == "a" and file_name("...") == "table"


def files_of(records: list[RunRecord], folder: Path) -> list[str]:
    parts = sections(frame(records))
    for table in named_apart([accuracy_table(part) for part in parts]):
        write_atomic(folder / f"{table.name}.md", table.markdown())
    return [path.name for path in folder.glob("*.md")]


@pytest.mark.parametrize(
    "names",
    [("Mine", "mine"), ("a/b", "a b"), ("x" * 400, "x" * 399 + "y"), ("\u00e9", "e\u0301"), ("τ" * 200, "τ" * 300),
     (".a", "a")],
)  # fmt: skip
def test_every_table_has_a_file_on_any_file_system(names, tmp_path):
    found = files_of([sample(dataset=name, setting_id=str(place)) for place, name in enumerate(names)], tmp_path)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(names) == 2
    assert all(len(name.encode()) < 200 and not name.startswith((".", "-")) for name in found)


def test_baselines_whose_labels_look_alike_have_tables_of_their_own(tmp_path, capsys):
    records = [sample(setting_id=name, method_name=name) for name in ("A+B", "A B", "a-b")]
    words = runs_folder(tmp_path, *(record.to_dict() for record in records))
    assert main([*words, "--baseline", "A+B / CB", "A B / CB", "A B / CB"]) == 0
    assert len([*(tmp_path / "tables").glob("*_vs_*.md")]) == 2 and "3 tables are in" in capsys.readouterr().err


def test_a_link_to_all_is_not_followed(tmp_path, caplog):
    runs = tmp_path / "deep" / "runs"
    write_json(runs / "one" / "record.json", sample().to_dict())
    write_json(tmp_path / "outside" / "record.json", sample(seed=1).to_dict())
    for name, place in (("root", "/"), ("above", tmp_path), ("self", runs), ("gone", tmp_path / "nowhere")):
        (runs / name).symlink_to(place)
    with caplog.at_level(logging.WARNING):
        assert read_records([runs]) == [sample()]
    lines = [line for line in caplog.messages if line.startswith("not followed")]
    assert len(lines) == 2 and all(str(runs / name) in "".join(lines) for name in ("root", "above"))


def test_records_without_predictions_are_said_once(tmp_path, capsys):
    words = runs_folder(tmp_path, *(sample(seed=seed).to_dict() for seed in range(3)))
    (tmp_path / "runs" / "kept.jsonl").write_text(json.dumps(sample(seed=3).to_dict()))
    assert main(words) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not compared" in line]
    assert line.endswith(f"{tmp_path / 'runs' / '0' / 'record.json'} and 2 more")


def test_metrics_of_any_size_are_read_or_refused(tmp_path, caplog):
    odd = [{"top1": 10**400}, {"train_counts": [10**400, 1]}, {"test_counts": [2**63, 1]}, {"ece": 10**400}]
    records = [{**sample(run_id=str(place)).to_dict(), "metrics": metrics() | one} for place, one in enumerate(odd)]
    runs_folder(tmp_path, sample().to_dict(), *records)
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path / "runs"]) == [sample()]
    assert sum(line.startswith("skipped ") for line in caplog.messages) == len(odd)
