"""The sample of the fast set: each value is in it, the rest is in the whole set, and no process has another one."""

import itertools
import subprocess
import sys
from pathlib import Path

from helpers.sampling import FAMILIES, each_value_once, one_of_each_family

from lt_bench.config.compose import groups

PAIRS = list(itertools.product("abcdefg", range(4)))


def fast(parameters):
    return [parameter.values for parameter in parameters if not parameter.marks]


def test_each_value_is_in_the_fast_set_and_every_case_in_the_whole():
    parameters = each_value_once(PAIRS)
    assert [parameter.values for parameter in parameters] == PAIRS
    assert all(mark.name == "slow" for parameter in parameters for mark in [*parameter.marks])
    kept = fast(parameters)
    assert {left for left, _ in kept} == set("abcdefg") and {right for _, right in kept} == set(range(4))
    assert len(kept) <= 7 + 4


def test_a_sample_is_the_same_in_every_process():
    code = f"from helpers.sampling import *; print([p.values for p in each_value_once({PAIRS!r}) if not p.marks])"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.stdout.strip() == str(fast(each_value_once(PAIRS))), done.stderr


def test_where_all_is_a_sample_it_has_each_value_of_the_cases():
    cases = [*itertools.product(groups()["method"], range(1, 6))]
    parameters = each_value_once(cases, of_families=True, in_all=True)
    assert fast(parameters) == fast(each_value_once(cases, of_families=True))
    assert {name for name, _ in (one.values for one in parameters)} == set(groups()["method"])
    assert len(parameters) <= len(groups()["method"]) + 5


def test_families_are_methods():
    methods = groups()["method"]
    assert [name for (name,) in fast(one_of_each_family(methods))] == sorted(FAMILIES.values())
    assert len(one_of_each_family(methods)) == len(methods)


def test_a_sample_of_families_has_each_of_them_and_every_other_value():
    parameters = each_value_once(itertools.product(groups()["method"], range(1, 6)), of_families=True)
    assert len(parameters) == 5 * len(groups()["method"])
    kept = fast(parameters)
    assert {name for name, _ in kept} == set(FAMILIES.values()) and {steps for _, steps in kept} == set(range(1, 6))
