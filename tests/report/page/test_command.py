"""`python -m lt_bench.report page`: where the page goes, what it is about, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from helpers.pages import page_of
from helpers.samples import sample

from lt_bench.record.collect import read_records
from lt_bench.report.__main__ import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def records(tmp_path):
    found = [sample(), sample(setting_id="o", method_name="CE"), sample(setting_id="v", evaluated_on="validation")]
    (tmp_path / "runs").mkdir()
    lines = [json.dumps(one.to_dict()) for one in found]
    (tmp_path / "runs" / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "runs"


def test_the_page_lies_beside_the_runs_unless_another_place_is_named(records, capsys):
    assert main(["page", "--runs", str(records)]) == 0
    assert capsys.readouterr().out == f"{records / 'page.html'}\n"
    page = (records / "page.html").read_text(encoding="utf-8")
    assert "<p>2 rows of 2 runs in 1 table</p>" in page
    assert page_of(records, place=records / "deep" / "own.html") == page
    assert len(read_records([records])) == 3  # a page is no record


def test_runs_are_chosen_and_metrics_added(records, capsys):
    words = ["--runs", str(records), "--out", str(records / "p.html")]
    assert main(["page", *words, "--where", "method=CE", "--metric", "worst_class"]) == 0
    page = (records / "p.html").read_text(encoding="utf-8")
    assert "1 row of 1 run in 1 table" in page and ">worst class</button>" in page and 'id="run-o-0-0"' in page
    assert main(["page", *words, "--evaluated-on", "validation"]) == 0
    assert 'id="run-v-0-0"' in (records / "p.html").read_text(encoding="utf-8")


def test_a_choice_of_methods_keeps_the_baselines_and_says_which_are_not_there(tmp_path):
    study = ROOT / "results" / "records" / "fashion_study.jsonl"
    page = page_of(study, "--where", "method=bcl", place=tmp_path / "page.html")
    assert "<td>BCL" in page or ">BCL" in page
    assert ">Balanced Softmax</a>" in page and ">PaCo</a>" not in page
    assert "No CE with the view autoaugment_cutout" in page


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [(["--where", "method=nothing"], "method is one of CE, SBCL, sbcl", 1),
     (["--runs", "nowhere"], "no such file or folder: nowhere", 1),
     (["--out", "/dev/null/page.html"], "name another place with --out FILE", 1),
     (["--metric", "nonsense"], "no metric 'nonsense'", 2), (["--nonsense"], "unrecognized arguments", 2)],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_what_to_type(records, words, said, status, capsys):
    try:
        found = main(["page", "--runs", str(records), *words])
    except SystemExit as error:
        found = error.code
    assert found == status and said in capsys.readouterr().err


def test_the_records_of_this_repository_make_a_page(tmp_path):
    page = page_of(ROOT / "results" / "records" / "fashion_controls.jsonl", place=tmp_path / "page.html")
    assert page.count('<details class="row">') == len(re.findall(r"<tr><th scope=\"row\"><a ", page)) > 1
