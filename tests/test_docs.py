"""README.md and docs/ tell the truth: tables come from the committed records, the test command is what CI runs."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as tree

import numpy as np
import pytest

from lt_bench.config.compose import compose, groups
from lt_bench.config.recipes import short_for
from lt_bench.figures.__main__ import main as figures
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight.validate import validate
from lt_bench.record.collect import read_records
from lt_bench.report.__main__ import main as report
from lt_bench.run.summary import summary

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
LARGE = ["digits_tuning", "fashion_study", "fashion_tuning", "fashion_ssl_tuning"]  # of many runs
RECORDED = [
    *(
        "digit_scenes",
        "digits_demo",
        "fashion_controls",
        "fashion_ssl_study",
        "openclipart_study",
        "openclipart_tuning",
    ),
    *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE),
]
BASELINES = ["--baseline", "CE / CB", "SBCL / CB", "SimCLR / Linear (train.lr=0.1)", "FCN"]


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


@pytest.mark.parametrize("group", ["dataset", "method", "mixing", "variant", "stage_two", "budget"])
def test_the_axes_name_every_choice(group):
    choices = {name for name in groups()[group] if not short_for(name)} if group == "method" else set(groups()[group])
    assert choices <= axis("docs/runs.md", group)


def test_the_axes_name_every_network():
    assert set(groups()["backbone"]) <= axis("docs/runs.md", "backbone")


def test_tables_are_made_from_the_committed_records(tmp_path):
    pages = {path: (tmp_path / path, text) for path, text in TEXTS.items() if "\n<!-- table:" in text}
    assert len(pages) == 7
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


def curves(path):
    """The points (N, 2) of all lines and areas of each panel of an SVG file; its grids have two points a line."""
    svg = "{http://www.w3.org/2000/svg}"
    panels = [group for group in tree.parse(path).iter(f"{svg}g") if re.match(r"axes_\d", group.get("id", ""))]
    drawn = [[part.get("d") for part in panel.iter(f"{svg}path") if part.get("clip-path")] for panel in panels]
    found = [[re.findall(r"[ML] (\S+) (\S+)", line) for line in lines] for lines in drawn]
    return [np.array([point for line in lines if len(line) > 2 for point in line], float) for lines in found]


def show_the_same(one, other):
    """Whether two pictures have the same data: their panels may have other places and sizes, as versions differ."""
    pairs = [*zip(curves(one), curves(other), strict=True)]
    return all(ours.shape == theirs.shape for ours, theirs in pairs) and all(
        np.abs(np.polyval(np.polyfit(ours[:, axis], theirs[:, axis], 1), ours[:, axis]) - theirs[:, axis]).max() < 0.1
        for ours, theirs in pairs
        for axis in (0, 1)
    )


def test_pictures_are_made_from_the_committed_records(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = {
        (ROOT / page).parent.joinpath(link).resolve()
        for page, text in TEXTS.items()
        for link in re.findall(r"!\[[^\]]*\]\(((?:docs/)?(?:\.\./)?images/[^)]+)\)", text)
    }
    commands = re.findall(r"^    python -m lt_bench\.figures (.*--out docs/images .*)$", TEXTS["docs/figures.md"], re.M)
    for command in commands:
        assert figures(shlex.split(command.replace("docs/images", str(tmp_path)))) == 0
    assert {path.name for path in shown} == {path.name for path in tmp_path.iterdir()}
    assert shown == {*(ROOT / "docs" / "images").iterdir()}
    assert all(show_the_same(path, tmp_path / path.name) for path in shown)


def test_pictures_of_other_data_are_told_apart(tmp_path):
    kept = ROOT / "docs" / "images" / "digits_lt_if20_class_accuracy.svg"
    text = kept.read_text(encoding="utf-8")
    line = re.compile(r"(<path d=\"M \S+) \S+(?=(?:\s+L \S+ \S+){9})")  # the first curve, of ten classes
    moved = line.sub(r"\1 150", text, count=1)
    (tmp_path / "moved.svg").write_text(moved, encoding="utf-8")
    assert moved != text and not show_the_same(kept, tmp_path / "moved.svg")


def test_the_run_of_the_readme_is_one_of_the_records():
    (run,) = re.findall(r"; run (\w+)$", README, re.MULTILINE)
    record = next(record for record in records_of("digits_demo") if record.run_id == run)
    shown = "".join(f"    {line}\n" for line in summary(record, Path("runs") / run).splitlines())
    assert shown in README


def test_the_readme_is_read_in_five_minutes():
    assert len(README.split()) <= 900


@pytest.mark.parametrize("name", RECORDED)
def test_records_are_those_of_the_experiment_under_the_identities_of_today(name):
    assert {record.run_id for record in records_of(name)} == {run.identity for run in runs_of(name)}


def trainings_of_the_study(study, method, other_view):
    """Of rows that are no method's recipe, because a view or a mixing of images is typed with a rate; else none."""
    if not other_view and method in groups()["method"]:
        return []
    configs = [run.config for run in runs_of(f"{study}_study") if run.config.method["name"] == method]
    return [one.train for one in configs if (one.method.get("views") == ["autoaugment_cutout"]) == other_view]


@pytest.mark.parametrize(
    ("study", "dataset", "tried", "runs"),
    [
        ("digits", "digits_lt", 9, 3),
        ("openclipart", "openclipart_lt", 3, 2),
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
        trains = trainings_of_the_study(study, method, other_view)
        if not trains:
            trains = [validate(compose([f"method={method}", f"dataset={dataset}"])).train]
        assert {chosen} == {(train.lr, train.optimizer["weight_decay"]) for train in trains}


def test_ci_calls_the_test_command_of_the_readme():
    (command,) = re.findall(r"^    (pip install -e '\.\[test\]' && python -m pytest)$", README, re.MULTILINE)
    first, second = command.split(" && ")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert first in script and second in script.splitlines()[-1]


@cache
def anchors(page):
    """What links may name in a page: its headings as a site has them, and places that are named."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.M | re.S), re.MULTILINE)
    slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', TEXTS[page]))


@pytest.mark.parametrize("page", TEXTS)
def test_links_of_a_page_lead_to_files_and_headings(page):
    for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", TEXTS[page]):
        file = (ROOT / page).parent.joinpath(link).resolve() if link else ROOT / page
        assert file.is_file(), link
        assert not anchor or anchor in anchors(file.relative_to(ROOT).as_posix()), (link, anchor)


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
