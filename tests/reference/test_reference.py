"""The reference of docs/ is what the code, the settings and conf/ say today."""

import pytest

from lt_bench.config.compose import groups

from .__main__ import DOCS, kept, reference, write
from .markdown import prose, table

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


def test_pages_that_are_no_longer_made_go(tmp_path, made, monkeypatch):
    monkeypatch.setattr(f"{write.__module__}.reference", lambda: made)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "gone.md").write_text("of a method that is no more", encoding="utf-8")
    write(tmp_path)
    assert kept(tmp_path) == made


def test_text_of_docstrings_stays_text():
    assert prose("of ``a_b``. 2 * x < 1, [0, 1](not a link)") == "of `a_b`. 2 \\* x &lt; 1, [0, 1\\](not a link)"
    assert table(["a|b"], [["`x | y`"]]) == "| a\\|b |\n| --- |\n| `x \\| y` |"
