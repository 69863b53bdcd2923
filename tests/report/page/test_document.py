"""The page: its structure, what it says, and that it is the same for the same records."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.pages import CLASSES, page_of, write_run, write_runs
from helpers.samples import sample
from helpers.seen import Seen
from scipy.stats import ttest_1samp

from lt_bench.evaluation.metrics import METRICS
from lt_bench.figures.studies import Run, read_studies
from lt_bench.published.entries import find
from lt_bench.record.collect import read_records
from lt_bench.report.frame import frame
from lt_bench.report.matching import beside
from lt_bench.report.page.details import COARSEST, FINEST, details, fineness, shown
from lt_bench.report.page.document import document
from lt_bench.report.page.pairs import pairs
from lt_bench.report.sections import sections
from lt_bench.report.tables import ACCURACIES, accuracy_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("page") / "runs")


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder, place=folder.parent / "page.html")


@pytest.fixture(scope="module")
def seen(page):
    return Seen(page)


def part(page, start, end='<details class="row">|</section>'):
    """The text from a mark to the next one of an end."""
    return re.split(end, page.split(start, 1)[1], maxsplit=1)[0]


def test_elements_are_closed_and_ids_are_there_once(seen):
    assert (seen.wrong, seen.unclosed) == ([], [])
    ids = Counter(attributes["id"] for _, attributes in seen.elements if "id" in attributes)
    assert max(ids.values()) == 1
    assert {link["href"][1:] for link in seen.all("a")} <= set(ids)
    assert {one["aria-labelledby"] for one in seen.all("section")} <= set(ids)


def test_nothing_is_fetched_and_nothing_else_runs(seen, page):
    assert {name for name, _ in seen.elements} & {"img", "link", "iframe", "object", "base", "form"} == set()
    named = {name for _, attributes in seen.elements for name in attributes}
    assert named & {"src", "srcset", "style", "action"} == set() and not [
        name for name in named if name.startswith("on")
    ]
    assert re.findall(r"@import|url\(|fetch\(|XMLHttp|innerHTML|https?://(?!www\.w3\.org/2000/svg)", page) == []
    (policy,) = [one["content"] for one in seen.all("meta") if one.get("http-equiv")]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_it_can_be_read_aloud(seen, page):
    assert Counter(name for name, _ in seen.elements)["h1"] == 1 and seen.all("html") == [{"lang": "en"}]
    levels = [int(name[1]) for name, _ in seen.elements if re.fullmatch("h[1-6]", name)]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(one.get("scope") in ("col", "row") for one in seen.all("th"))
    assert all(one["role"] == "img" and one["aria-label"] for one in seen.all("svg"))
    assert len(seen.all("label")) == len(seen.all("select")) + len(seen.all("input"))
    assert page.count("<figure>") == page.count("<summary>Numbers</summary>")
    heads = [one for one in seen.all("th") if "aria-sort" in one]
    assert {one["aria-sort"] for one in heads} == {"none"} and len(heads) == 12
    assert seen.all("a")[0] == {"class": "skip", "href": "#main"}


def test_a_cell_leads_to_its_runs_in_two_steps(folder, page):
    table = part(page, 'id="rows"', "</table>")
    rows = table.split("<tr>")[2:]
    assert len(rows) == 4
    for row in rows:
        target = re.search(r'href="#(row-\w+)"', row)[1]
        inside = part(page, f'<div id="{target}"')
        runs = re.findall(r'<code id="run-[\w-]+" tabindex="-1">([\w-]+)</code>', inside)
        setting = re.search(r"setting_id: ([\w-]+)", inside)[1]
        assert sorted(runs) == sorted(one.run_id for one in read_records([folder]) if one.setting_id == setting)
        assert "setting_id: " in inside and ("train.lr: " in inside or 'href="#settings-' in inside)


def test_stage_one_and_its_runs_lead_to_each_other(page):
    below = part(page, 'id="stage-one"', "</main>")
    for seed in range(3):
        assert page.count(f'<a href="#run-one{seed}">') == 2
        row = part(below, f'id="run-one{seed}"', "<tr>")
        assert [f'href="#run-s{number}-{seed}"' in row for number in range(3)] == [True, True, False]


def test_numbers_are_those_of_the_tables(folder, page):
    made = [accuracy_table(one) for one in sections(frame(read_records([folder])))]
    rows = part(page, 'id="rows"', "</table>").split("<tr>")[2:]
    wanted = [row for table in made for row in table.cells[[METRICS[name].column for name in ACCURACIES]].to_numpy()]
    for row, cells in zip(rows, wanted, strict=True):
        assert re.findall(r'<td data-v="[\d.]+">(?:<b>)?([\d.]+ ± [\d.–]+)', row) == [*cells]


def test_equal_records_give_equal_bytes_wherever_they_are(folder, page, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    names = sorted((tmp_path / "elsewhere").iterdir(), reverse=True)
    for place, name in enumerate(names):
        name.rename(name.with_name(f"{place}{name.name}"))
    assert page_of(tmp_path / "elsewhere", place=tmp_path / "page.html") == page


def test_pictures_have_what_the_records_say(folder, page):
    inside = part(page, '<div id="row-', "<h4>Config")
    assert inside.count("<svg") == 1 + 4 + 1  # classes, loss and score of two stages, reliability
    (study,) = [one for one in read_studies([folder]) if one.name == "digits_lt_if20"]
    digits = page.split('id="table-digits_lt_if20"')[1]
    first = study.rows[0]
    mean = 100 * first.per_model("per_class_accuracy").mean(axis=0)
    accuracies = re.findall(
        r'<tr><th scope="row">\d<td>\d+<td>([\d.]+) ±', part(digits, "<h4>Accuracy", "<h4>Training")
    )
    assert [float(one) for one in accuracies] == pytest.approx(mean, abs=0.051)
    assert "point: the chosen epoch, 11." in digits
    cells = sum(run.predictions().cells for run in first.runs)
    matrix = part(digits, '<table class="matrix">', "</table>").split("<tr>")[2:]
    shown = [[float(one or 0) for one in re.findall(r"<td(?: class=h\d)?>(\d*)", row)] for row in matrix]
    assert np.abs(np.array(shown) - 100 * cells / cells.sum(axis=1, keepdims=True)).max() <= 0.5


def test_published_results_stand_beside_ours(page):
    beside = part(page, "<caption>BCL / –</caption>", "</table>")
    known = {"dataset": "cifar100_lt", "imbalance": "if100", "stage_two": "none", "backbone": "resnet32_cifar"}
    entries = find("bcl", **known, epochs=200)
    assert len(entries) > 2 and beside.count("<tr>") == 2 + len(entries)
    for entry in entries:
        assert f"<td>{entry.all:.1f}<td>" in beside
    assert "Nothing published is known here of CE / –, CE / CB, SBCL / CB." in page


def test_published_results_under_another_protocol_are_marked():
    other = {"backbone": "resnet50_cifar", "settings": {**CLASSES, "train.epochs": 400}}
    run = sample(method="bcl", dataset="cifar100_lt", imbalance_factor=100.0, stage_two="none", **other)
    made = document([Run(run, None)])
    assert "<td class=differs>200 ≠" in made and "<td class=differs>resnet32_cifar ≠" in made
    assert "images there" not in made
    validation = document([Run(replace(run, evaluated_on="validation"), None)])
    assert "validation images here, test images there" in validation


@pytest.mark.parametrize("changes", [{"imbalance_profile": "step"}, {"settings": {"method._target_": "my_file.BCL"}}])
def test_the_page_and_the_tables_have_the_same_published_results(changes):
    named = {"method": "bcl", "dataset": "cifar100_lt", "imbalance_factor": 100.0, "stage_two": "none"}
    ours = sample(**named, settings=CLASSES)
    for run, many in (
        (ours, True),
        (replace(ours, **{**changes, "settings": {**CLASSES, **changes.get("settings", {})}}), False),
    ):
        (section,) = sections(frame([run]))
        stands = beside(section, section.rows[0])
        assert bool(stands) == many
        told = part(document([Run(run, None)]), "<h3>Published results</h3>", "</details>")
        assert told.count("<tr>") == (2 + len(stands) if many else 0)
        assert ("Nothing published is known here" in told) != many


@pytest.mark.parametrize("splits", [1, 3])
def test_pairs_have_the_interval_of_paired_differences(splits):
    random = np.random.RandomState(splits)
    rows = {name: random.rand(6, 4).round(3) for name in "abc"}
    records = [
        sample(
            setting_id=name,
            method_name=name,
            seed=place // splits,
            split_seed=place % splits,
            metrics=dict(zip(("many", "medium", "few", "top1"), map(float, values[place]), strict=True)),
            group_rule="count_100_20" if name == "c" else "thirds",
        )
        for name, values in rows.items()
        for place in range(6 if name == "a" else 5)
    ]
    (section,) = sections(frame(records))
    found = pairs(section)
    assert [*found] == ["0-1", "0-2", "1-2"] and [one[:2] for one in found.values()] == [
        [5, 5 if splits == 1 else 3]
    ] * 3
    points = 100 * (rows["a"] - rows["b"])[:5]
    units = points if splits == 1 else np.stack([points[one::splits].mean(axis=0) for one in range(splits)])
    low, high = ttest_1samp(units, 0).confidence_interval(0.95)
    assert np.array(found["0-1"][2:]) == pytest.approx(np.stack([units.mean(axis=0), low, high], axis=1), abs=0.0051)
    assert found["0-2"][2:5] == [None] * 3 and len(found["0-2"][5]) == 3
    assert [*pairs(section, 2)] == ["0-1", "0-2"]


def test_one_pair_has_no_interval_and_none_no_difference():
    one, other = sample(metrics={"top1": 0.5, "few": None}), sample(setting_id="o", metrics={"top1": 0.25, "few": 0.1})
    (section,) = sections(frame([one, other, sample(setting_id="p", seed=1)]))
    (told,) = pairs(section).values()
    assert told[:2] == [1, 1] and told[2:] in ([None, None, None, 25.0], [None, None, None, -25.0])


def test_rows_without_more_than_a_record_say_so():
    made = document([Run(sample(), None)])
    assert made.count("Not shown: ") == 1 and "1 of 1 runs have no predictions.npz" in made
    assert "no run has metrics.jsonl beside its record" in made


@pytest.mark.parametrize(("classes", "said"), [(40, "most confused"), (1200, "too many for this page")])
def test_many_classes_are_shown_together(classes, said, tmp_path):
    write_run(tmp_path, "a", classes=classes, per_class=1)
    made = page_of(tmp_path, place=tmp_path / "page.html")
    table = part(part(made, "<h4>Accuracy of the classes"), "<table", "</table>")
    assert table.count("<tr>") == 1 + min(classes, FINEST) and said in made


def test_a_row_keeps_its_size(tmp_path):
    for seed in range(3):
        write_run(tmp_path, f"a{seed}", setting_id="a", seed=seed, classes=100, epochs=300)
    (study,) = read_studies([tmp_path])
    runs = {run.record.run_id: run for run in study.rows[0].runs}
    (row,) = shown(sections(frame([run.record for run in runs.values()])), runs)
    assert fineness(200) == COARSEST and fineness(1) == FINEST
    assert len(details(row, COARSEST, set())) < 18_000  # three runs; with one it is 14,000, of 200 a page of 3 MB


@pytest.mark.slow
def test_a_page_of_two_hundred_rows_keeps_its_size(tmp_path):
    for number in range(200):
        settings = {f"train.option_{place}": f"lt_bench.methods.module_{place}.Name" for place in range(25)}
        name = {"setting_id": f"s{number}", "settings": {"train.lr": number / 100, **settings}}
        write_run(tmp_path, f"s{number}", classes=100, epochs=200, **name)
    assert len(page_of(tmp_path, place=tmp_path / "page.html").encode()) <= 3_000_000


def test_comparisons_are_json_that_a_script_can_read(seen):
    data = json.loads(seen.scripts[0])
    assert data["metrics"] == ["many", "medium", "few", "all"] and not data["full"]
    assert [len(one["rows"]) for one in data["tables"]] == [1, 3] and len(data["tables"][1]["pairs"]) == 3
