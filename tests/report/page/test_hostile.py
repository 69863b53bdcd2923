"""Words of records never become parts of the page."""

import json
import re

import pytest
from helpers.samples import metrics, sample
from helpers.seen import Seen

from lt_bench.figures.studies import Run
from lt_bench.record.record import RunRecord
from lt_bench.report.page.document import document
from lt_bench.report.page.markup import anchor, data, text

TEXTS = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", '" onmouseover="alert(1)', "'><b>",
         "<!--", "--><!--<script>", "]]>", "&lt;&amp;", "\u2028\u2029", "\x1b[2J\x00\x85", "a\u202eb", "x" * 4000, "",
         " ", "$style", "${script}", "javascript:alert(1)", "row-1", "main", "</details></main>", "%s{0}"]  # fmt: skip
WORDS = ("run_id", "stage_one_id", "setting_id", "method", "method_name", "dataset", "imbalance_profile", "backbone",
         "stage_two", "stage_two_name", "budget", "group_rule")  # fmt: skip
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "h4", "p", "button", "nav"),
    *("ul", "li", "main", "section", "noscript", "fieldset", "legend", "label", "select", "option", "input", "div"),
    *(
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "b",
        "code",
        "details",
        "summary",
        "span",
        "pre",
        "figure",
    ),
    *("svg", "path", "g", "text", "polygon", "circle", "footer", "script"),
}


def hostile(words: str, number: int) -> RunRecord:
    """A record that has the same words wherever it takes any."""
    values = {name: f"{words}{number}" if name == "run_id" else words for name in WORDS}
    more = {"device": words, "seconds": 1e300}
    epochs = {"chosen": {"train": {"epoch": 3, "score": 0.5, "on": words}}}
    settings = {words or "key": words, "train.epochs": 3, f"dataset.{words}": [words]}
    return sample(**values, settings=settings, cost=more, environment={words or "key": words}, epochs=epochs)


@pytest.fixture(scope="module")
def made():
    records = [hostile(words, number) for number, words in enumerate(TEXTS)]
    return document([Run(record, None) for record in [*records, sample()]])


def test_no_element_and_no_attribute_comes_of_words(made):
    seen, usual = Seen(made), Seen(document([Run(sample(), None)]))
    assert (seen.wrong, seen.unclosed) == ([], []) and {name for name, _ in seen.elements} <= KNOWN
    of_page = {name for _, attributes in usual.elements for name in attributes} | {"class", "data-v", "open"}
    assert {name for _, attributes in seen.elements for name in attributes} <= of_page
    assert len(seen.all("script")) == 2 and made.count("<script") == 2 and made.count("</script") == 2
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", made)
    assert all(re.fullmatch(r"#[\w-]+", one["href"]) for one in seen.all("a"))


def test_words_are_shown_as_they_are(made):
    shown = "".join(Seen(made).texts)
    assert "<img src=x onerror=alert(1)>" in shown and "${script}" in shown and "&lt;&amp;" in shown
    found = json.loads(Seen(made).scripts[0])
    labels = [row[0] for table in found["tables"] for row in table["rows"]]
    assert any("</script><script>alert(1)</script>" in label for label in labels)


def test_lines_are_of_bounded_length(made):
    assert "x" * 200 not in made


@pytest.mark.parametrize("value", TEXTS)
def test_texts_ids_and_json_hold_nothing_that_acts(value):
    assert not re.search("[<>\"'\n\u2028]", text(value))
    assert re.fullmatch(r"run-[\w-]{1,64}", anchor("run", value), re.ASCII)
    assert json.loads(data([value])) == [value] and not re.search("[<>&\u2028]", data([value]))


def test_odd_numbers_cost_no_page():
    odd = metrics() | {"per_class_accuracy": [None, None], "train_counts": [2**62, 0], "few": None, "ece": 0.0}
    records = [sample(metrics=odd), sample(setting_id="b", metrics={}), sample(setting_id="c", seed=2**62)]
    records += [sample(setting_id="d", imbalance_factor=None), sample(setting_id="e", imbalance_factor=1e308)]
    records += [
        sample(
            setting_id="f", metrics=metrics() | {"train_counts": [1], "per_class_accuracy": [0.5], "test_counts": [1]}
        )
    ]
    made = document([Run(record, None) for record in records])
    assert (Seen(made).wrong, Seen(made).unclosed) == ([], [])
