"""What a reader does not understand it refuses in its own words, whatever the input; the hunt itself."""

import json

import pytest
from hypothesis import strategies as st

from tests.fuzz.__main__ import readers, told
from tests.fuzz.contract import Reader
from tests.fuzz.hunt import at_most, hunt, place_of

TRIES, FEW_SECONDS = 30, 0.7  # whichever is over first, so that all tests of a file stay cheap
SECONDS = 20  # of CPU time


@pytest.mark.parametrize("name", readers())
def test_a_reader_reads_or_refuses(name):
    found = hunt(readers()[name], seed=0, tries=TRIES, seconds=FEW_SECONDS)
    assert not found.failures and found.tries > 0, told(name, 0, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", readers())
def test_a_reader_reads_or_refuses_for_longer(name):
    found = hunt(readers()[name], seed=1, seconds=SECONDS)
    assert not found.failures, told(name, 1, found)


def test_a_hunt_tells_failures_apart_shortens_their_inputs_and_goes_on():
    def read(value):
        if "a" in value:
            raise KeyError(value)
        if len(value) > 2:
            raise IndexError(value)
        raise ValueError("its own error")

    found = hunt(Reader(st.text("ab"), read, (ValueError,)), seed=0, tries=200)
    assert sorted((place.kind, failure.shown) for place, failure in found.failures.items()) == [
        ("IndexError", "'bbb'"),
        ("KeyError", "'a'"),
    ]
    assert found.tries >= 200 and "KeyError" in told("letters", 0, found)


def test_a_hunt_of_a_seed_has_the_same_inputs():
    def inputs(seed):
        seen = []
        hunt(Reader(st.text(), seen.append, ()), seed=seed, tries=50)
        return seen

    assert inputs(1) == inputs(1) != inputs(2)


def test_a_failure_of_no_reader_is_raised():
    with pytest.raises(ZeroDivisionError):
        hunt(Reader(st.integers().map(lambda _: 1 / 0), lambda value: None, ()), seed=0, tries=5)


def test_an_input_that_is_read_for_ever_is_a_failure(monkeypatch):
    def read(value):
        while value:
            pass

    monkeypatch.setattr("tests.fuzz.hunt.LONGEST", 0.05)
    found = hunt(Reader(st.booleans(), read, ()), seed=0, tries=5)
    assert [place.kind for place in found.failures] == ["TooLong"]
    with at_most(5):
        pass


def test_a_place_is_the_innermost_line_of_the_package():
    from lt_bench.files import parse_json

    try:
        parse_json("{")
    except json.JSONDecodeError as error:
        assert place_of(error).line.startswith("lt_bench/files.py:")
