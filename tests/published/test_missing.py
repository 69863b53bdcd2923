"""Cells that nobody has published: words of conf/, and what is said of a row that is none."""

import re

import pytest

from lt_bench.errors import UsageError
from lt_bench.published.missing import _cells, missing

GOOD = {"method": "ce", "stage_two": "cb", "dataset": "cifar10_lt", "imbalance": ["if100", "if50"], "missing": "groups"}


def test_a_row_is_a_cell_for_every_imbalance_and_no_cell_stands_twice():
    cells = _cells(GOOD)
    assert [cell.imbalance for cell in cells] == ["if100", "if50"]
    assert {cell[:3] for cell in cells} == {("ce", "cb", "cifar10_lt")}
    (alone,) = _cells({key: value for key, value in GOOD.items() if key != "stage_two"} | {"imbalance": "native"})
    assert (alone.stage_two, alone.imbalance) == (None, "native")
    assert len({cell[:4] for cell in missing()}) == len(missing()) > 150


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "cee"}, "method takes"),
        ({"imbalance": ["if100", "if7"]}, "imbalance takes if10"),
        ({"imbalance": "100"}, "imbalance takes if10"),
        ({"missing": "all"}, "missing takes everything, groups"),
        ({"why": "x"}, "expected dataset, imbalance, method, missing, and stage_two or none"),
        ({"method": ["ce"]}, "method takes"),
        ({"imbalance": [["if100"]]}, "imbalance takes if10"),
    ],
)
def test_a_row_that_is_none_is_named(change, said):
    with pytest.raises(UsageError, match=f"results/published/missing.yaml: .*{re.escape(said)}"):
        _cells(GOOD | change)
    with pytest.raises(UsageError, match="expected dataset"):
        _cells({key: value for key, value in GOOD.items() if key != "method"})
