"""The matrix of methods and data sets: for which pairs there is a recipe, and where its values come from."""

from __future__ import annotations

import re

import pandas as pd

from lt_bench.config.compose import about, compose, groups
from lt_bench.config.conf import values_of
from lt_bench.config.recipes import LARGE_IMAGES, short_for
from lt_bench.published.entries import by_id
from lt_bench.published.reproduces import reproduced
from lt_bench.record.order import order_of, title_of
from lt_bench.report.tables import Table

NAME = "methods"
PUBLISHED, DERIVED, NONE = "published", "derived", "–"
# what the comment of a recipe says whose values are of no paper, and no authors' code, for its data set
_OWN = re.compile(r"\bnot (?:found|in|tuned)\b|\bso that only\b|_tuning\b")
_PAPER = re.compile(r"\(([^()]*?\b(?:(?:19|20)\d\d|arXiv [\d.]+))")  # the citation in a method's comment
CAPTION = (
    f"Methods and data sets. {PUBLISHED}: the recipe has the values of a paper or of authors' code for that data set; "
    f"{DERIVED}: those of another data set or method, or tuned here, as the recipe says; {NONE}: no recipe, so that a "
    "run has the method's own values. In brackets: how many published figures conf/reproduces.yaml names for it."
)


def methods_table() -> Table:
    """A row for every method of conf/, with its paper, and a column for every data set; made from conf/ alone."""
    known = [(_title(name), name) for name in groups()["method"]]
    ordered = sorted(known, key=lambda one: (order_of("method", one[0], None), one))
    rows = [
        {"method": title, "method=": name, "paper": paper(name), **{data: cell(name, data) for data in _datasets()}}
        for title, name in ordered
    ]
    pages = [f"methods/{name}.md" for _, name in ordered]  # beside the page of this table
    links = {"method": pages, "paper": [address(name) for _, name in ordered]}
    return Table(NAME, [CAPTION], pd.DataFrame(rows), pd.DataFrame(rows), links=links)


def paper(method: str) -> str:
    """Authors, place and year of a method as the comment of its file has them first; a dash where it names none."""
    found = _PAPER.search(about("method", method))
    return found[1].rpartition("; ")[2] if found else NONE


def address(method: str) -> str:
    """Where a method's paper is, as the comment of its file has it; else nothing."""
    found = re.search(r"https://\S+", about("method", method))
    return found[0] if found else ""


def cell(method: str, dataset: str) -> str:
    """What there is of a recipe for a pair, and how many published figures it is meant to reproduce."""
    name = f"{method}_{dataset}"
    if name in groups()["recipe"]:
        of_papers = dataset in {one.dataset for one in by_id().values()} and not _OWN.search(about("recipe", name))
        figures = len(reproduced("recipe").get(name, ()))
        return (PUBLISHED if of_papers else DERIVED) + f" ({figures})" * bool(figures)
    taken = _of_files(dataset) and f"{method}_{LARGE_IMAGES}" in groups()["recipe"]
    return DERIVED if taken else NONE


def _title(method: str) -> str:
    """What tables call a method; of a short name that of the method with its component."""
    return str(compose([f"method={method}"]).method.title) if short_for(method) else title_of("method", method)


def _datasets() -> list[str]:
    return sorted(groups()["dataset"], key=lambda name: (_of_files(name), name))


def _of_files(dataset: str) -> bool:
    """Whether a data set is one of image files, which takes recipes of ``LARGE_IMAGES``."""
    return "train_list" in values_of(f"dataset/{dataset}").get("dataset", {})
