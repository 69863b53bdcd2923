"""The order of rows: every yaml has one, and it is that of the tables of old."""

from math import inf

import pytest

from lt_bench.config.compose import compose, groups
from lt_bench.record.order import order_of

SUPERVISED = (
    "CE",
    "LDAM-DRW",
    "Balanced Softmax",
    "SupCon",
    "KCL",
    "TSC",
    "SBCL",
    "SBCL (MoCo)",
    "BCL",
    "PaCo",
    "GPaCo",
    "ProCo",
)
WITHOUT_LABELS = ("SimCLR", "Focal NT-Xent", "SDCLR", "Boosted CL", "Boosted SDCLR")
METHODS = (*SUPERVISED, *(title for name in WITHOUT_LABELS for title in (name, f"{name}+GH")), "GPaCo multi-task")
STAGES_TWO = ("–", "CB", "LDAM-DRW", "LWS", "τ-norm", "NCM", "Linear", "100-shot")


@pytest.mark.parametrize(("group", "titles"), [("method", METHODS), ("stage_two", STAGES_TWO)])
def test_the_order_in_conf_is_that_of_the_tables(group: str, titles: tuple[str, ...]) -> None:
    places = [(order_of(group, title, None), title) for title in titles]
    assert places == sorted(places) and all(place < inf for place, _ in places)


@pytest.mark.parametrize("group", ["method", "stage_two"])
def test_every_choice_composes_with_an_order_which_its_title_has_too(group: str) -> None:
    for choice in groups()[group]:
        node = compose([f"{group}={choice}"])[group]
        assert order_of(group, node.title, None) == node.order, choice


def test_what_nobody_knows_comes_last() -> None:
    assert order_of("method", "Zeta", None) == inf and order_of("stage_two", "Zeta", None) == inf
    assert (
        order_of("method", "CE+mine", None) == order_of("method", "CE", None) and order_of("method", "CE+x", 15) == 15
    )
    assert order_of("method", "Zeta", 15) == 15.0 and order_of("method", "CE", 999) == order_of("method", "CE", None)
