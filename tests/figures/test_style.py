"""Looks and files: equal bytes for equal data, whatever style the machine has; nothing global is left behind."""

import sys

import matplotlib
import pytest

from lt_bench.figures.style import COLOURS, FORMATS, looks, render, words


def draw(figure, text):
    axes = figure.subplots()
    axes.plot([0, 1], [1, 0], label=text, marker="o")
    axes.bar([0, 1], [0.5, 0.5], hatch="//")
    axes.set_title(text)
    axes.legend()


def test_equal_data_give_equal_bytes_under_any_style_of_the_machine(tmp_path):
    first = render(draw, "one", tmp_path / "a", FORMATS)
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.facecolor": "red", "svg.hashsalt": "other", "font.size": 20}):
        second = render(draw, "one", tmp_path / "b", FORMATS)
        assert matplotlib.rcParams["font.size"] == 20
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert render(draw, "two", tmp_path / "c", ["png"])[0].read_bytes() != first[0].read_bytes()
    assert dict(matplotlib.rcParams) == before
    assert b"<dc:date>" not in first[1].read_bytes() and b"Matplotlib v" not in first[1].read_bytes()[:1500]


def test_pyplot_is_not_needed_so_that_no_figure_stays_open(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # Python: an import of it fails
    assert render(draw, "x", tmp_path / "x", ["png"])[0].exists()


@pytest.mark.parametrize("text", ["$x_{ $\\frac$ $b$", "class\x1b[31m\nred", "鸟类", "\udcff\ufffe", "<b>&amp;--</b>"])
def test_names_are_text_in_both_formats(text, tmp_path):
    import xml.etree.ElementTree as tree

    png, svg = render(draw, words(text), tmp_path / "x", FORMATS)
    assert png.read_bytes().startswith(b"\x89PNG")
    tree.fromstring(svg.read_bytes())


def test_words_are_one_short_line():
    assert words("a\tb\n c") == "a b c" and words("\x1b[0m") == "\\x1b[0m" and words("a$b$") == "a$b$"
    assert words("x" * 60, 10) == "x" * 9 + "…"


def test_methods_are_told_apart_without_colour():
    eight = looks(len(COLOURS))
    assert len({(one.line, one.marker) for one in eight}) == len(eight) == len({one.colour for one in eight})
    assert len({one.hatch for one in eight}) == 8
