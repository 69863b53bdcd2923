"""Sets of logits of runs as runs beside them: in tables, figures and the page, each with what its own logits say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.samples import predictions, sample

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.named import with_logits
from lt_bench.evaluation.predictions import Predictions, save_predictions
from lt_bench.figures.__main__ import main as figures
from lt_bench.figures.studies import read_studies
from lt_bench.files import write_json
from lt_bench.record.collect import read_found
from lt_bench.record.sets import with_sets
from lt_bench.report.__main__ import main as report

LABELS = np.arange(60) % 3


def made(seed: int, experts: int) -> Predictions:
    draw = np.random.default_rng(seed).normal(size=(experts + 1, 60, 3)) + np.eye(3)[LABELS]
    plain = predictions(draw[0], LABELS, [50, 20, 5])
    return replace(plain, logits_by_name=plain.logits_by_name | {f"expert{n}": draw[n + 1] for n in range(experts)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two seeds of a run with two experts, and a run without any."""
    for seed, experts in ((0, 2), (1, 2), (2, 0)):
        stored, method = made(seed, experts), {"method_name": "SADE"} if experts else {}
        record = sample(seed=seed, metrics=evaluate(stored), setting_id=f"of{experts}", **method)
        save_predictions(tmp_path / str(seed) / "predictions.npz", stored)
        write_json(tmp_path / str(seed) / "record.json", record.to_dict())
    return tmp_path


def test_each_set_is_a_run_with_its_own_metrics(folder: Path) -> None:
    found = with_sets(read_found([folder]), ["expert1"])
    assert [one.record.settings.get("logits") for one in found] == [None, None, "expert1", None, "expert1"]
    assert len({one.record.run_id for one in found}) == 5
    assert found[2].record.metrics == evaluate(with_logits(made(0, 2), "expert1"))
    assert with_sets(read_found([folder]), []) == read_found([folder])
    assert len(with_sets(read_found([folder]), ["all"])) == 7
    with pytest.raises(UsageError, match="--logits exprt1: no run here has stored logits of that name"):
        with_sets(read_found([folder]), ["exprt1"])


def test_they_are_rows_of_tables_and_of_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(["--runs", str(folder), "--logits", "all", "--export", str(folder / "out" / "all.jsonl")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "SADE / CB, expert1" in line)
    few = [evaluate(with_logits(made(seed, 2), "expert1"))["few"] for seed in (0, 1)]
    assert f"{100 * np.mean(few):.1f}" in line
    assert (folder / "out" / "all.jsonl").read_text().count("\n") == 3  # sets of logits are no records
    assert report(["page", "--runs", str(folder), "--logits", "expert0", "--out", str(folder / "page.html")]) == 0
    assert "SADE / CB, expert0" in (folder / "page.html").read_text()


def test_they_are_rows_of_figures(folder: Path) -> None:
    (study,) = read_studies([folder], sets=["expert1"])
    (row,) = (row for row in study.rows if "expert1" in row.label)
    np.testing.assert_array_equal(row.runs[0].predictions().logits, made(0, 2).logits_by_name["expert1"].astype("f4"))
    assert row.per_model("top1").tolist() == [evaluate(with_logits(made(s, 2), "expert1"))["top1"] for s in (0, 1)]
    words = [str(folder), "--kind", "reliability", "--format", "svg", "--logits", "all", "--out", str(folder / "f")]
    assert figures(words) == 0 and [*(folder / "f").glob("*.svg")]
