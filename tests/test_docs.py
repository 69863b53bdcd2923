"""README.md and docs/ tell the truth: tables come from the committed records, the test command is what CI runs."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from lt_bench.__main__ import main
from lt_bench.config.compose import compose, groups
from lt_bench.config.recipes import short_for
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.search.planned import is_search, plan_search
from lt_bench.preflight.validate import validate
from lt_bench.record.collect import read_records
from lt_bench.record.identity import run_id
from lt_bench.report.__main__ import main as report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
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


def axis(page, group):
    """What the table of axes on a page names for a group."""
    (row,) = re.findall(rf"^\| `{group}=`.*$", TEXTS[page], re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize("group", ["dataset", "method", "variant", "stage_two", "budget"])
@pytest.mark.parametrize("page", ["README.md", "docs/runs.md"])
def test_the_axes_name_every_choice(page, group):
    choices = {name for name in groups()[group] if not short_for(name)} if group == "method" else set(groups()[group])
    assert choices <= axis(page, group)


def test_the_axes_name_every_network():
    assert set(groups()["backbone"]) <= axis("docs/runs.md", "backbone")


def test_tables_are_made_from_the_committed_records(tmp_path):
    pages = {path: (tmp_path / path, text) for path, text in TEXTS.items() if "<!-- table:" in text}
    assert len(pages) == 4
    for page, text in pages.values():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    words = [str(page) for page, _ in pages.values()]
    records = str(ROOT / "results" / "records")
    assert report(["--runs", records, "--out", str(tmp_path / "tables"), *BASELINES, "--pages", *words]) == 0
    assert all(page.read_text(encoding="utf-8") == text for page, text in pages.values())
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
@pytest.mark.parametrize("page", [path for path, text in TEXTS.items() if "    python -m lt_bench" in text])
def test_every_command_of_a_page_names_what_is_there(page):
    commands = re.findall(r"^    python -m lt_bench (?!-m )([^#\n]*)", TEXTS[page], re.MULTILINE)
    for command in commands:
        words = [word for word in shlex.split(command) if "=DIR" not in word]
        if "--help" in words:
            assert main(words) == 0
        elif "dataset=image_folder" not in words:  # whose identity needs images
            assert len(run_id(validate(compose(words)))) == 12
    for command in re.findall(r"^    python -m lt_bench -m ([^#\n]*)", TEXTS[page], re.MULTILINE):
        words = shlex.split(command)
        assert plan_search(words) if is_search(words) else plan(words)


@pytest.mark.parametrize("page", TEXTS)
def test_links_of_a_page_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXTS[page])
    assert all((ROOT / page).parent.joinpath(link).is_file() for link in links)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
    made = {path.parent.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("index.html")}
    pages = {path.removeprefix("docs/").removesuffix(".md") for path in TEXTS if path.startswith("docs/")}
    assert made == {page if page != "index" else "." for page in pages}
