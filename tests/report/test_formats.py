"""Every format of a table holds its cells, and words of records act in none of them."""

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from helpers.samples import runs, sample

from lt_bench.report.escape import latex
from lt_bench.report.formats import FORMATS, WIDTH, as_html, as_latex, as_text
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.report.tables import accuracy_table

WICKED = [
    *("a|b", "50 % & more_$x$ #1 {y}", "\\input{/etc/passwd}", "^^5cinput ~ --- '' `` \"q\"", "[x] <b>", "<!-- -->"),
    *("中文 Ω ß é ’ …", "\x1b[2J\u202e", "x" * 120, "=cmd()", "*a* _b_", "\\\\[1em]", "&amp;&lt;"),
]
METRICS = ["ece", "nll", "macro", "balanced_error", "worst_class", "harmonic_mean"]


def table(titles=("SBCL", "CE"), more=()):
    records = []
    for place, title in enumerate(titles):
        named = {"setting_id": f"s{place}", "method": f"m{place}", "method_name": title}
        records += runs([(0.5 + place / 50, 0.1), (0.55 + place / 50, 0.2)], **named)
    (section,) = sections(frame(records))
    return accuracy_table(section, more)


class Cells(HTMLParser):
    """The texts of cells, row by row, and every tag that there is."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags = [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_html_has_the_cells_and_no_tag_of_a_record():
    made, page = table(WICKED[:6] + WICKED[8:]), Cells()
    page.feed(as_html(made))
    assert page.tags == {"table", "caption", "tr", "th", "td", "b"}
    cells = [[cell.strip() for cell in row] for row in page.rows]
    assert cells == [list(made.cells.columns), *made.cells.to_numpy().tolist()]


@pytest.mark.parametrize("more", [[], METRICS])
def test_a_terminal_shows_every_number_within_its_width(more):
    made = table([title for title in WICKED if "\x1b" not in title], more)
    shown = as_text(made)
    assert max(map(len, shown.splitlines())) <= WIDTH
    for column in made.cells.columns[1:]:
        for cell in made.cells[column]:
            assert cell in shown
    assert "\x1b" not in as_text(table(WICKED)) and "x" * 24 in shown and "…" not in shown.replace("’ …", "")
    words = " ".join(shown.split())
    assert "*: the best" in words and "bold" not in words


def test_parquet_and_csv_hold_the_same_values():
    pytest.importorskip("pyarrow", reason="pip install -e '.[parquet]'")
    made = table()
    found = pd.read_parquet(io.BytesIO(FORMATS["parquet"].content(made)))
    pd.testing.assert_frame_equal(found, made.values)


def test_parquet_without_pyarrow_names_what_to_install(monkeypatch):
    def refuse(*words, **more):
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", refuse)
    with pytest.raises(ValueError, match=r"pip install 'lt_bench\[parquet\]'"):
        FORMATS["parquet"].content(table())


def test_latex_has_a_row_for_each_row_and_bold_for_what_leads():
    made = table()
    text = as_latex(made)
    assert text.count(r" \\") == len(made.cells) + 1 and text.count(r"\textbf") == sum(map(len, made.bold)) > 0
    assert r"\label{tab:digits-lt-if20}" in text and r"\toprule" in text
    assert latex("a_b – 5 % ± 1") == r"a\_b -- 5 \% $\pm$ 1" and latex("中") == "{[}U+4E2D{]}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs a TeX engine with booktabs")
def test_latex_compiles_and_prints_what_the_table_says(tmp_path):
    made = table(WICKED)
    page = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}"
    (tmp_path / "page.tex").write_text(f"{page}\n{as_latex(made)}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    log = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0 and (tmp_path / "page.pdf").stat().st_size > 5000, log[-2000:]
    assert not re.search("Undefined control|Missing character|undefined", log)


def test_tables_of_equal_records_are_equal_in_every_format():
    records = [sample(seed=seed) for seed in range(3)] + runs([(0.4, 0.2)], setting_id="ce", method_name="CE")
    made = []
    for order in (records, records[::-1]):
        (section,) = sections(frame(order))
        made.append([content(accuracy_table(section)) for name, (_, content) in FORMATS.items() if name != "parquet"])
    assert made[0] == made[1]
