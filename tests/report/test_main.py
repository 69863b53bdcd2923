import gc
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.samples import metrics, predictions, runs, sample

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.files import write_json
from lt_bench.record.collect import Found, read_records
from lt_bench.record.record import RunRecord
from lt_bench.report.__main__ import main
from lt_bench.report.reading import read


def folder(tmp_path: Path, records: list[RunRecord]) -> list[str]:
    for record in records:
        write_json(tmp_path / "runs" / record.run_id / "record.json", record.to_dict())
    return ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "tables")]


def pair() -> list[RunRecord]:
    return [*runs([(0.5, 0.1), (0.6, 0.2)]), *runs([(0.6, 0.2), (0.8, 0.4)], setting_id="ce", method_name="CE")]


def test_tables_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*folder(tmp_path, pair()), "--baseline", "CE / CB"]) == 0
    names = sorted(path.name for path in (tmp_path / "tables").iterdir())
    stems = ["digits_lt_if20", "digits_lt_if20_vs_ce_cb"]
    assert names == sorted(f"{stem}.{kind}" for stem in stems for kind in ("md", "csv"))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    numbers = re.compile(r"\d+\.\d+ ± \d+\.\d+|[+-]\d+\.\d")
    for stem in stems:
        cells = numbers.findall((tmp_path / "tables" / f"{stem}.md").read_text(encoding="utf-8"))
        assert cells and all(cell in printed for cell in cells)


def test_tables_go_beside_the_runs_unless_a_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "results" / "tables" / "digits_lt_if20.md"
    published.parent.mkdir(parents=True)
    published.write_text("published")
    folder(tmp_path, pair())
    monkeypatch.chdir(tmp_path)
    export = tmp_path / "kept" / "mine.jsonl"
    assert main(["--export", str(export)]) == 0
    assert published.read_text() == "published" and [path.name for path in published.parent.iterdir()] == [
        published.name
    ]
    assert (tmp_path / "runs" / "tables" / published.name).exists()
    assert main(["--runs", str(export)]) == 0 and (export.parent / "tables" / published.name).exists()
    assert main([]) == 0  # tables beside the runs are no runs


def test_runs_beside_published_results_do_not_overwrite_them(tmp_path: Path) -> None:
    words = folder(tmp_path, pair())[:2]
    published = tmp_path / "runs" / "tables" / "digits_lt_if20.md"
    (tmp_path / "runs" / "records").mkdir()
    write_json(published, "published")
    before = published.read_bytes()
    assert main(words) == 0 and published.read_bytes() == before
    assert (tmp_path / "runs" / "own_tables" / published.name).exists()


def test_tables_that_cannot_be_written_are_printed_and_another_place_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = folder(tmp_path, pair())
    (tmp_path / "tables").touch()
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "CE / CB" in said.out and re.search(r"cannot write tables into \S+/tables \(.+\); .* --out DIR", said.err)


def test_ece_is_shown_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = folder(tmp_path, pair())
    assert main(arguments) == 0 and "ECE" not in capsys.readouterr().out
    assert main([*arguments, "--ece"]) == 0 and "ECE" in capsys.readouterr().out


def test_further_metrics_are_shown_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = folder(tmp_path, pair())
    assert main([*arguments, "--ece"]) == 0
    by_short_word = capsys.readouterr().out
    assert main([*arguments, "--metric", "ece"]) == 0 and capsys.readouterr().out == by_short_word
    assert main([*arguments, "--metric", "balanced_error", "macro", "--ece", "--metric", "top5"]) == 0
    heads = (tmp_path / "tables" / "digits_lt_if20.md").read_text(encoding="utf-8")
    assert re.search(r"\| +all \| +balanced error \| +macro \| +ECE \| +top-5 \|", heads)
    for flag in ("--metric", "--ranks"):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, flag, "wurst_class"])
        assert stopped.value.code == 2
        assert f"{flag}: no metric 'wurst_class'; expected one of: top1, top5, macro" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["..top1", "a..top1", "a/b.top1", "é\n.top1"])
def test_a_metric_of_what_is_no_module_is_wrong_usage(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*folder(tmp_path, [sample()]), "--metric", name])
    assert stop.value.code == 2 and "is no module" in capsys.readouterr().err


def test_a_metric_of_ones_own_is_named_with_its_module(tmp_path: Path) -> None:
    (tmp_path / "my_metrics.py").write_text(
        "from lt_bench.evaluation.metrics import metric\n\n\n"
        '@metric("best_class", column="best class")\n'
        "def best_class(predictions):\n"
        "    return float(predictions.tested.max())\n"
    )
    made = predictions(np.eye(6)[[0, 1, 2, 3, 0, 0]], range(6), [9, 8, 7, 6, 5, 4])
    arguments = folder(tmp_path, [sample(metrics=evaluate(made))])
    save_predictions(tmp_path / "runs" / sample().run_id / "predictions.npz", made)
    command = [sys.executable, "-m", "lt_bench.report", *arguments, "--metric"]
    done = subprocess.run([*command, "my_metrics.best_class"], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and re.search(r"\bclass\b.*\n.*\n.* 100\.0 ± –", done.stdout), done.stderr
    done = subprocess.run([*command, "their_metrics.x"], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 2 and "--metric their_metrics.x: No module named 'their_metrics'" in done.stderr


def test_a_page_is_refreshed(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- table: digits_lt_if20 -->\n<!-- /table -->\n")
    assert main([*folder(tmp_path, pair()), "--pages", str(page)]) == 0
    assert "| CE / CB " in page.read_text(encoding="utf-8")


def test_an_export_holds_all_whole_runs_and_makes_the_same_tables(tmp_path: Path) -> None:
    stage_one = sample(kind="stage_one", setting_id="one", metrics={})
    validation = sample(setting_id="val", evaluated_on="validation")
    export = tmp_path / "records" / "all.jsonl"
    assert main([*folder(tmp_path, [*pair(), stage_one, validation]), "--export", str(export)]) == 0
    assert read_records([export]) == [record for record in read_records([tmp_path / "runs"]) if record.kind == "run"]
    methods = [json.loads(line)["setting_id"] for line in export.read_text(encoding="utf-8").splitlines()]
    assert methods == ["ce", "ce", "sbcl_cb", "sbcl_cb", "val"]
    again = tmp_path / "again"
    assert main(["--runs", str(export), "--out", str(again)]) == 0
    for path in (tmp_path / "tables").iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_an_export_is_of_the_chosen_runs(tmp_path: Path) -> None:
    words = [*folder(tmp_path, pair()), "--export", str(tmp_path / "some.jsonl")]
    assert main([*words, "--where", "method_name=SBCL"]) == 1 and not (tmp_path / "some.jsonl").exists()
    assert main([*words, "--where", "setting_id=sbcl_cb", "seed=0"]) == 0
    (line,) = (tmp_path / "some.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(line)["setting_id"], json.loads(line)["seed"]) == ("sbcl_cb", 0)


@pytest.mark.parametrize("words", [["--cost"], ["--baseline", "CE / CB"]])
def test_tables_that_axes_leave_out_are_not_asked_for(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main([*folder(tmp_path, pair()), "--rows", "method", "--cols", "imbalance", *words])
    assert left.value.code == 2


def test_several_baselines_make_a_table_each(tmp_path: Path) -> None:
    assert main([*folder(tmp_path, pair()), "--baseline", "CE / CB", "SBCL / CB"]) == 0
    stems = {path.stem for path in (tmp_path / "tables").glob("*.md")}
    assert stems == {"digits_lt_if20", "digits_lt_if20_vs_ce_cb", "digits_lt_if20_vs_sbcl_cb"}


def test_only_the_asked_split_and_no_stage_one_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validation = sample(setting_id="val", method_name="BCL", evaluated_on="validation")
    stage_one = sample(kind="stage_one", setting_id="one", method_name="PaCo", evaluated_on="validation", metrics={})
    arguments = folder(tmp_path, [sample(), validation, stage_one])
    assert main(arguments) == 0
    assert " BCL" not in capsys.readouterr().out
    assert main([*arguments, "--evaluated-on", "validation"]) == 0
    printed = capsys.readouterr().out
    assert " BCL / CB" in printed and "validation split" in printed and "SBCL" not in printed and "PaCo" not in printed


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no such file or folder: .*--runs DIR"),
        ([sample(kind="stage_one", metrics={})], "no records of finished runs in .*--runs DIR"),
        ([sample(evaluated_on="validation")], "add --evaluated-on validation"),
        ([sample(run_id="a"), sample(run_id="b")], "same seeds: a, b"),
    ],
)
def test_without_usable_records_the_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], records: list[RunRecord], message: str
) -> None:
    assert main(folder(tmp_path, records)) == 1
    captured = capsys.readouterr()
    assert re.search(message, captured.err) and captured.out == ""


def test_contradictions_and_missing_pages_are_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = folder(tmp_path, [sample()])
    assert main([*arguments, "--pages", str(tmp_path / "nosuch.md")]) == 1
    assert "nosuch.md" in capsys.readouterr().err
    write_json(tmp_path / "runs" / "copy" / "record.json", sample(metrics=metrics(top1=0.1)).to_dict())
    assert main(arguments) == 1
    assert "two different records" in capsys.readouterr().err


def test_wrong_usage_is_status_2_and_help_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in (["--baseline", "Nope / CB"], ["--evaluated-on", "train"], ["--colour"]):
        with pytest.raises(SystemExit) as stopped:
            main([*folder(tmp_path, pair()), *extra])
        assert stopped.value.code == 2
    assert "no row 'Nope / CB'; expected one of: CE / CB; SBCL / CB" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0 and "examples:" in capsys.readouterr().out


@pytest.mark.parametrize("where", [[], ["--where", "seed=9"]])
def test_garbage_is_looked_for_seldom_and_afterwards_as_before(
    where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = gc.get_threshold(), list[int]()

    def watched(*words: Any) -> list[Found]:
        during.append(gc.get_threshold()[0])
        return read(*words)

    monkeypatch.setattr("lt_bench.report.__main__.read", watched)
    assert main([*folder(tmp_path, pair()), *where]) == bool(where)
    assert gc.get_threshold() == before and during[0] > 10 * before[0]


def test_torch_is_not_imported(tmp_path: Path) -> None:
    names = ["report.__main__", "evaluation.predictions", "evaluation.metrics", "record.record"]
    code = "; ".join(f"import lt_bench.{name}" for name in names) + "; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0
    command = [sys.executable, "-m", "lt_bench.report", *folder(tmp_path, pair())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and " SBCL / CB " in done.stdout
