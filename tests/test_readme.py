"""The README tells the truth: its tables come from the committed records, its test command is what CI runs."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from lt_bench.__main__ import main
from lt_bench.config.compose import compose
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight.validate import validate
from lt_bench.record.collect import read_records
from lt_bench.record.identity import run_id
from lt_bench.report.__main__ import main as report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LARGE = ["digits_tuning", "fashion_study", "fashion_tuning", "fashion_ssl_tuning"]  # of many runs
RECORDED = [
    *("digits_demo", "fashion_controls", "fashion_ssl_study"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE),
]
BASELINES = ["--baseline", "CE / CB", "SBCL / CB", "SimCLR / Linear (train.lr=0.1)"]


@cache
def records_of(name):
    return read_records([ROOT / "results" / "records" / f"{name}.jsonl"])


@cache
def runs_of(experiment):
    return plan([f"experiment={experiment}"])


def test_tables_are_made_from_the_committed_records(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(README, encoding="utf-8")
    records = str(ROOT / "results" / "records")
    assert report(["--runs", records, "--out", str(tmp_path / "tables"), *BASELINES, "--readme", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == README
    assert report(["--runs", records, "--out", str(tmp_path / "tables"), "--evaluated-on", "validation"]) == 0
    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "tables").iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "results" / "tables").iterdir()}
    assert made == kept


@pytest.mark.parametrize("name", RECORDED)
def test_records_are_those_of_the_experiment_under_the_identities_of_today(name):
    assert {record.run_id for record in records_of(name)} == {run.identity for run in runs_of(name)}


@pytest.mark.parametrize(
    ("study", "dataset", "tried", "runs"),
    [
        ("digits", "digits_lt", 9, 3),
        pytest.param("fashion", "fashion_mnist_lt", 4, 1, marks=pytest.mark.slow),
        pytest.param("fashion_ssl", "fashion_mnist_lt", 4, 1, marks=pytest.mark.slow),
    ],
)
def test_recipes_are_the_best_of_the_tuning(study, dataset, tried, runs):
    best = {}
    for record in records_of(f"{study}_tuning"):
        key = (record.settings["train.lr"], record.settings["train.optimizer.weight_decay"])
        row = (record.method, record.settings.get("method.views", "") == ["autoaugment_cutout"])
        best.setdefault(row, {}).setdefault(key, []).append(record.metrics["top1"])
    for (method, other_view), settings in best.items():
        assert len(settings) == tried and all(len(values) == runs for values in settings.values())
        chosen = max(settings, key=lambda key: sum(settings[key]))
        trains = [validate(compose([f"method={method}", f"dataset={dataset}"])).train]
        if other_view:
            configs = [run.config for run in runs_of(f"{study}_study")]
            trains = [config.train for config in configs if config.method.get("views") == ["autoaugment_cutout"]]
        assert {chosen} == {(train.lr, train.optimizer["weight_decay"]) for train in trains}


def test_ci_calls_the_test_command_of_the_readme():
    (command,) = re.findall(r"^    (pip install -e '\.\[test\]' && python -m pytest)$", README, re.MULTILINE)
    first, second = command.split(" && ")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert first in script and second in script.splitlines()[-1]


@pytest.mark.slow
def test_every_command_of_the_readme_names_what_is_there():
    commands = re.findall(r"^    python -m lt_bench (?!-m )([^#\n]*)", README, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command)
        if "--help" in words:
            assert main(words) == 0
        else:
            assert len(run_id(validate(compose(words)))) == 12
    for command in re.findall(r"^    python -m lt_bench -m ([^#\n]*)", README, re.MULTILINE):
        assert plan(shlex.split(command))
