"""Titles of records are text in every place that shows them."""

import pandas as pd
import pytest
from helpers.samples import sample

from lt_bench.command import csv_cell, printable
from lt_bench.report.escape import markdown
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.report.tables import Table, accuracy_table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SBCL / CB (method.clustering=kmeans_official) [setting 1a]", None),
        ("τ-norm, [0.2, 1.0] ± 3", None),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("<!-- /table -->", "&lt;!-- /table --&gt;"),
        ("[here](javascript:x) ![a](b)", "[here\\](javascript:x) ![a\\](b)"),
        ("a | b\nc", "a \\| b c"),
        ("`x` *y* ~~z~~ \\", "\\`x\\` \\*y\\* \\~\\~z\\~\\~ \\\\"),
        ("&lt;b&gt; & c", "&amp;lt;b&amp;gt; & c"),
        ("\x1b[2J\u202eabc", "\\\\x1b[2J\\\\x202eabc"),
    ],
)
def test_markdown(text, shown):
    assert markdown(text).replace("\\\\x", "\\x") == (text if shown is None else shown).replace("\\\\x", "\\x")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula_of_a_spreadsheet(sign):
    assert str(csv_cell(f"{sign}cmd()")).startswith("'")
    assert csv_cell(-1.5) == -1.5 and csv_cell("CE / –") == "CE / –"


def test_lines_and_tabs_are_all_that_acts_on_a_terminal():
    assert printable("a\tb\nc\x1b[31m\x07\x9b\r") == "a\tb\nc\\x1b[31m\\x07\\x9b\\x0d"


def test_a_table_of_a_hostile_record():
    evil = sample(method_name="=cmd|' /C calc'!A0\x1b]0;x\x07<script>", backbone="<b>\n# heading")
    (part,) = sections(frame([evil]))
    table = accuracy_table(part)
    shown = table.markdown()
    assert "<script>" not in shown and "<b>" not in shown and "\n# heading" not in shown and "\x1b" not in shown
    line = table.csv().splitlines()[1]
    assert line.startswith(("'=", "\"'=")) and "\x1b" not in line


def test_numbers_stay_numbers_in_csv():
    values = pd.DataFrame([{"label": "CE", "top1": -0.5, "n": 3}])
    assert Table("t", [], values, values).csv() == "label,top1,n\nCE,-0.5000,3\n"
