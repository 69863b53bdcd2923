from pathlib import Path

import pytest

from lt_bench.report.pages import fill, update

TABLES = {"digits_lt_if20": "| a |\n", "cifar10_lt_if100": "| b |\n"}


def test_what_stands_between_the_markers_is_replaced() -> None:
    page = (
        "top\n<!-- table: digits_lt_if20 -->old\nlines<!-- /table -->\nmid\n"
        "<!-- table: cifar10_lt_if100 --><!-- /table -->"
    )
    filled = fill(page, TABLES)
    assert filled == (
        "top\n<!-- table: digits_lt_if20 -->\n\n| a |\n\n<!-- /table -->\nmid\n"
        "<!-- table: cifar10_lt_if100 -->\n\n| b |\n\n<!-- /table -->"
    )
    assert fill(filled, TABLES) == filled


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            "<!-- table: nosuch --><!-- /table -->",
            "unknown table 'nosuch': expected one of cifar10_lt_if100, digits_lt_",
        ),
        ("<!-- table: digits_lt_if20 --> no end", "table digits_lt_if20 is not closed"),
        (
            "<!-- table: digits_lt_if20 --> <!-- table: cifar10_lt_if100 --> <!-- /table -->",
            "digits_lt_if20 is not closed",
        ),
        ("no marker", "no table marker found"),
    ],
)
def test_mistakes_are_named_and_the_page_stays(tmp_path: Path, page: str, message: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(page)
    with pytest.raises(ValueError, match=f"README.md: .*{message}"):
        update(path, TABLES)
    assert path.read_text() == page
