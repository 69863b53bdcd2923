"""Axes and lines of the page's pictures over values of any size."""

import itertools
import math
import re

import numpy as np
import pytest

from lt_bench.report.page.svg import Panel, spanning

SIZES = (0.0, 5e-324, 1e-300, 1e-13, 0.3, 1.0, 1e16, 1e308)
VALUES = (*SIZES, *(-size for size in SIZES[1:]))


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations_with_replacement(VALUES, 2)))
@pytest.mark.parametrize("from_zero", [True, False])
def test_an_axis_over_any_values_has_ticks_in_its_range_and_places_in_its_picture(one, other, from_zero):
    axis = spanning([np.array([one, other, math.nan, math.inf])], "loss", from_zero=from_zero)
    assert -math.inf < axis.low < axis.high < math.inf
    ticks, room = axis.ticks(), 1e-6 * (axis.high - axis.low)
    assert len({*ticks}) == len(ticks) > 1 and ticks == sorted(ticks)
    assert all(axis.low - room <= tick <= axis.high + room for tick in ticks)
    panel = Panel(axis, axis)
    (places,) = re.findall(r'd="M(\d+) (\d+)L(\d+) (\d+)"', panel.line([one, other], [one, other], "line"))
    assert all(int(place) <= panel.width for place in places)


def test_ticks_are_round_and_of_small_ranges_not_rounded_away():
    assert spanning([np.array([0.0, 1.0])], "").ticks() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert spanning([np.array([0.0, 3e-13])], "").ticks() == [0.0, 1e-13, 2e-13, 3e-13]


def test_without_known_values_an_axis_is_from_0_to_1():
    axis = spanning([np.array([math.nan])], "")
    assert (axis.low, axis.high) == (0.0, 1.0)
