"""`report eval`: metrics of finished runs from what they stored, as they are, adjusted and together."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.samples import predictions, sample

from lt_bench.evaluation.adjustment import adjusted, choose_tau
from lt_bench.evaluation.by_class import most_confused
from lt_bench.evaluation.ensembles import ensemble
from lt_bench.evaluation.metrics import METRICS, evaluate, scalars
from lt_bench.evaluation.predictions import Predictions, load_predictions, save_predictions
from lt_bench.files import write_json
from lt_bench.report.__main__ import main as report

COUNTS = [90, 40, 20, 10, 5, 2]


def drawn(seed: int, validation: bool = True) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.arange(360) % 6
    lean = np.log(np.array(COUNTS) / sum(COUNTS))
    made = predictions(rng.normal(size=(360, 6)) + 2 * np.eye(6)[labels] + lean, labels, COUNTS)
    return Predictions(
        logits_by_name=made.logits_by_name,
        labels=labels,
        train_counts=made.train_counts,
        group_rule="thirds",
        validation=drawn(seed + 100, False) if validation else None,
    )


@pytest.fixture
def stored(tmp_path: Path) -> list[str]:
    """Three runs, the last without validation images and without a record."""
    for seed in range(3):
        made = drawn(seed, seed < 2)
        save_predictions(tmp_path / str(seed) / "predictions.npz", made)
        if seed < 2:
            write_json(tmp_path / str(seed) / "record.json", sample(seed=seed, metrics=evaluate(made)).to_dict())
    return [str(tmp_path / str(seed)) for seed in range(3)]


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The labels of the columns, and the cells by metric."""
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    labels = [line.partition(": ")[2] for line in lines if line[:1].isdigit()]
    columns = {METRICS[name].column: name for name in scalars()}
    rows = [re.split(r"  +", line) for line in lines]
    return labels, {columns[row[0]]: row[2:] for row in rows if row[0] in columns}


def shown(value: float | None, name: str) -> str:
    return "–" if value is None else f"{value * 100:.1f}" if METRICS[name].unit == "%" else f"{value:.3f}"


def test_every_metric_of_some_runs(stored: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert report(["eval", *stored]) == 0
    labels, cells = printed(capsys)
    assert labels[0] == "SBCL / CB, digits_lt, seed 0, split seed 0 (sbcl_cb-0-0)" and labels[2] == stored[2]
    assert set(cells) == {name for name in scalars() if METRICS[name].task != "segmentation"}
    made = [evaluate(load_predictions(Path(run) / "predictions.npz"), scalars()) for run in stored]
    for name in ("top1", "few", "nll", "forward50", "geometric_mean", "adjusted_top1"):
        assert cells[name] == [shown(one[name], name) for one in made]
    assert cells["adjusted_top1"][2] == "–" and cells["adjusted_top1"][0] != "–"


def test_together_and_adjusted(stored: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    made = [load_predictions(Path(run) / "predictions.npz") for run in stored[:2]]
    words = ["eval", *stored[:2], "--metric", "top1", "few"]
    assert report([*words, "--ensemble", "logits"]) == 0
    labels, cells = printed(capsys)
    together = ensemble(made, "logits")
    assert labels[2] == "mean of their logits" and set(cells) == {"top1", "few"}
    assert cells["few"] == [shown(evaluate(one)["few"], "few") for one in [*made, together]]
    assert report([*words, "--ensemble", "logits", "--tau", "chosen"]) == 0
    labels, cells = printed(capsys)
    taus = [choose_tau(one.validation) for one in [*made, together] if one.validation]
    assert [label.rpartition("τ = ")[2] for label in labels] == [f"{tau:g}" for tau in taus]
    changed = [adjusted(one, tau) for one, tau in zip([*made, together], taus, strict=True)]
    assert cells["few"] == [shown(evaluate(one)["few"], "few") for one in changed]
    assert report([*words, "--tau", "1"]) == 0
    assert printed(capsys)[1]["few"] == [shown(evaluate(adjusted(one, 1))["few"], "few") for one in made]


def test_many_runs_stand_in_tables_of_their_own_below_each_other(
    stored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(["eval", *stored[:2] * 5, "--metric", "top1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("all ")]
    assert [len(line.split()) - 2 for line in lines] == [6, 4]


def test_a_metric_that_is_named_twice_is_shown_once(stored: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert report(["eval", stored[0], "--metric", "top1", "few", "--metric", "top1"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["all", "few"]


def test_what_cannot_be_used_is_one_line(stored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = drawn(0)
    moved = predictions(other.logits[::-1], other.labels[::-1], COUNTS)
    save_predictions(tmp_path / "moved.npz", moved)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.npz").write_bytes(b"PK")
    for words, said in (
        ([str(tmp_path / "empty")], "there is no predictions.npz; name the folder of a finished run"),
        ([str(tmp_path / "none")], "there is no predictions.npz"),
        ([str(tmp_path / "broken.npz")], "broken.npz is not a predictions file"),
        ([stored[2], "--tau", "chosen"], "it has no predictions on validation images to choose τ by; give a number"),
        ([stored[0], str(tmp_path / "moved.npz"), "--ensemble", "logits"], "member 2 is of other test images"),
    ):
        assert report(["eval", *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


WRONG_TAUS = [["--tau", tau] for tau in ("nan", "x", "1e300", "inf")]


@pytest.mark.parametrize("words", [["--metric", "topp1"], ["--metric", "per_class_accuracy"], *WRONG_TAUS])
def test_wrong_usage(words: list[str], stored: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        report(["eval", stored[0], *words])
    said = capsys.readouterr().err
    assert left.value.code == 2 and words[0] in said
    assert words[0] == "--metric" or f"{words[1]}: it takes numbers from -1000 to 1000, or chosen" in said


def test_an_export_takes_a_metric_along_that_no_record_has(stored: list[str], tmp_path: Path) -> None:
    words = ["--runs", stored[0], "--out", str(tmp_path / "out"), "--export", str(tmp_path / "all.jsonl")]
    assert report([*words, "--metric", "forward50"]) == 0
    (line,) = (tmp_path / "all.jsonl").read_text().splitlines()
    found = json.loads(line)["metrics"]
    assert found["forward50"] == evaluate(drawn(0), {"forward50"})["forward50"] and "aurc" not in found


def test_classes_one_by_one_and_what_is_taken_for_what(
    stored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert report(["eval", *stored[:2], "--metric", "top1", "--per-class", "--confusion", "--out", str(out)]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
    made = [load_predictions(Path(run) / "predictions.npz") for run in stored[:2]]
    curve = pd.read_csv(out / "per_class.csv")
    assert curve["train_count"].tolist() == COUNTS
    for place, one in enumerate(made, start=1):
        np.testing.assert_allclose(curve[str(place)], 100 * one.accuracies, atol=1e-4)
        cells = pd.read_csv(out / f"confusion_{place}.csv")
        found = np.zeros((6, 6), dtype=int)
        found[cells["class"], cells["predicted"]] = cells["images"]
        assert (found == one.cells).all()
    first = most_confused(made[0], 1)[0]
    row = (out / "confusion_1.md").read_text().splitlines()[4]
    assert [part.strip() for part in row.split("|")[1:4]] == [str(first.label), str(first.predicted), str(first.images)]


def test_runs_of_other_classes_have_no_table_of_classes_together(
    stored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_predictions(tmp_path / "two.npz", predictions(np.eye(2), [0, 1], [5, 2]))
    assert report(["eval", stored[0], str(tmp_path / "two.npz"), "--per-class"]) == 1
    assert "differ in their number of classes" in capsys.readouterr().err
    two = predictions(np.eye(2), [0, 1], [5, 2])
    for name, words in (("cats", ("lion", "lynx")), ("birds", ("auk", "owl"))):
        save_predictions(tmp_path / f"{name}.npz", replace(two, class_names=words))
    save_predictions(tmp_path / "more.npz", predictions(np.eye(2)[[0, 1, 1]], [0, 1, 1], [5, 2]))
    cats, birds, more = (str(tmp_path / f"{name}.npz") for name in ("cats", "birds", "more"))
    assert report(["eval", cats, birds, "--per-class"]) == 1
    assert "differ in their names of classes" in capsys.readouterr().err
    for other, said in ((str(tmp_path / "two.npz"), False), (more, True)):
        assert report(["eval", cats, other, "--per-class"]) == 0
        assert ("other numbers of test images" in " ".join(capsys.readouterr().out.split())) == said


@pytest.mark.usefixtures("metrics_end_with_the_test")
def test_named_sets_of_logits_are_columns_and_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two runs with experts and one without: as columns, as means of runs, and as METRIC@SET beside the others."""
    runs = []
    for seed in range(3):
        made = drawn(seed)
        sets = made.logits_by_name | ({f"expert{one}": drawn(seed + 10 * one).logits for one in (1, 2)} if seed else {})
        save_predictions(tmp_path / str(seed) / "predictions.npz", replace(made, logits_by_name=sets))
        runs.append(str(tmp_path / str(seed)))
    words = ["--metric", "top1", "few", "forward10"]
    assert report(["eval", *runs[1:], *words, "--logits", "all", "--ensemble", "logits"]) == 0
    labels, cells = printed(capsys)
    first, second = runs[1:]
    assert labels == [
        *(first, f"{first}, expert1", f"{first}, expert2", second, f"{second}, expert1", f"{second}, expert2"),
        *(f"mean of their logits{name}" for name in ("", ", expert1", ", expert2")),
    ]
    alone = [drawn(seed + more) for seed in (1, 2) for more in (0, 10, 20)]
    together = [ensemble([alone[place], alone[place + 3]], "logits") for place in range(3)]
    columns = [evaluate(one, {"few"}) for one in (*alone, *together)]
    assert cells["few"] == [shown(one["few"], "few") for one in columns[6:]]  # the cells of the last table
    assert report(["eval", *runs, "--metric", "top1@expert1", "forward10@expert1"]) == 0
    lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    expected = [evaluate(alone[place], {"top1", "forward10"}) for place in (1, 4)]
    for column, name in (("all (expert1)", "top1"), ("forward 10 (expert1)", "forward10")):
        (row,) = (line for line in lines if line[0] == column)
        assert row[2:] == ["–", *(shown(one[name], name) for one in expected)]
    assert report(["eval", *runs, "--logits", "expert1"]) == 1
    assert "there is no set of logits 'expert1'; there are logits" in capsys.readouterr().err
    for word in ("top1@", "top2@expert1", "test_counts@expert1"):
        with pytest.raises(SystemExit):
            report(["eval", *runs, "--metric", word])
        assert f"no metric '{word}'" in capsys.readouterr().err


def test_predictions_of_another_run_are_not_shown_under_the_name_of_a_record(
    stored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    save_predictions(Path(stored[0], "predictions.npz"), drawn(7))
    for more in ([], ["--ensemble", "logits"]):
        assert report(["eval", *stored[:2], *more]) == 1
        said = capsys.readouterr()
        assert "0/record.json contradicts the predictions beside it" in said.err and not said.out
