"""The reference of docs/ is what the code, the settings and conf/ say today."""

import html
import importlib
from xml.etree import ElementTree

import numpy as np
import pytest

from lt_bench.config.compose import groups
from lt_bench.published.entries import find

from .__main__ import DOCS, kept, reference, write_pages
from .equations import known
from .markdown import prose, table
from .views import FOLDER, differ, figures, read, strip

HELP = "reference/command-line.md"  # versions of Python break its lines at other places


@pytest.fixture(scope="module")
def made():
    return reference()


def test_the_reference_is_made_from_the_code(made):
    here = kept(DOCS)
    assert {name: text for name, text in here.items() if name != HELP} == {
        name: text for name, text in made.items() if name != HELP
    }, "python -m tests.reference writes it anew"
    assert here[HELP].split() == made[HELP].split()


def test_every_method_has_a_page_with_its_recipes(made):
    assert {f"methods/{name}.md" for name in groups()["method"]} <= made.keys()
    recipes = set(groups()["recipe"]) - {"none"}
    assert {name for name in recipes if not any(f"| `{name}` |" in text for text in made.values())} == set()


def test_every_method_has_equations_whose_symbols_are_told(made):
    assert all("\n$$\n" in made[f"methods/{name}.md"] for name in groups()["method"])
    told = [symbol for entry in known()["equations"].values() for symbol in entry["where"]]
    assert known()["symbols"].keys() <= set(told)
    assert all(known()["symbols"].get(symbol, symbol).count("$") % 2 == 0 for symbol in told)


@pytest.mark.parametrize(("name", "shown"), [("mislas", r"s_c (w_c \cdot f_i + b_c)"), ("gcl", "(1 - p_{i,y_i})")])
def test_a_stage_two_of_the_methods_name_is_on_its_page(made, name, shown):
    page = made[f"methods/{name}.md"]
    assert f"`lt_bench.stage_two.{name}." in page and shown in page
    assert "| `stage_two.augment` |" in page and f"_target_: lt_bench.stage_two.{name}." in page
    assert "`lt_bench.stage_two." not in made["methods/supcon.md"]  # cb is every method's


def test_a_published_figure_of_another_test_set_says_so(made):
    rows = [line for line in made["methods/ride.md"].splitlines() if line.startswith("| RIDE")]
    assert [row.split("|")[1].strip() for row in rows if "| 63.0 |" in row] == ["RIDE (test set forward50)"]
    plain = {one.all for one in find("ride", dataset="cifar100_lt")}
    assert {float(row.split("|")[7]) for row in rows if row.startswith("| RIDE | cifar100_lt |")} == plain


def test_equations_become_mathml():
    pytest.importorskip("latex2mathml", reason="pip install -e '.[docs]'")
    mathml = importlib.import_module("tests.reference.mathml")
    for entry in known()["equations"].values():
        for formula in entry["formulas"]:
            drawn = mathml.on_page_content(f'<div class="arithmatex">\\[{html.escape(formula)}\\]</div>')
            assert "\\" not in drawn and ElementTree.fromstring(drawn)[0].get("display") == "block"
    assert "<msub><mi>z</mi><mi>i</mi></msub>" in mathml.on_page_content('<span class="arithmatex">\\(z_i\\)</span>')


def test_pages_that_are_no_longer_made_go(tmp_path, made, monkeypatch):
    monkeypatch.setattr(f"{write_pages.__module__}.reference", lambda: made)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "gone.md").write_text("of a method that is no more", encoding="utf-8")
    write_pages(tmp_path)
    assert kept(tmp_path) == made


def test_text_of_docstrings_stays_text():
    assert prose("of ``a_b``. 2 * x < 1, [0, 1](not a link)") == "of `a_b`. 2 \\* x &lt; 1, [0, 1\\](not a link)"
    assert table(["a|b"], [["`x | y`"]]) == "| a\\|b |\n| --- |\n| `x \\| y` |"


def test_the_figures_of_views_are_made_from_the_code():
    made = figures()
    assert {f"{FOLDER}/{path.name}" for path in (DOCS / FOLDER).iterdir()} == made.keys()
    wrong = [name for name, figure in made.items() if differ(read(DOCS / name), strip(figure))]
    assert not wrong, "python -m tests.reference writes them anew"
    assert sum((DOCS / name).stat().st_size for name in made) < 1_500_000


def test_figures_of_other_views_are_told_apart():
    strips = [strip(figure) for figure in figures().values()]
    pairs = [(one, other) for place, one in enumerate(strips) for other in strips[:place] if one.shape == other.shape]
    assert pairs and all(differ(one, other) for one, other in pairs)
    one = strips[0]
    rounded = one - ((one > 0) & (np.random.default_rng(0).random(one.shape) < 0.5))  # as by another processor
    assert not differ(one, rounded) and differ(one, one[:, ::-1])
