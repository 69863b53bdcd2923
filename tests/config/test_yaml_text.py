"""YAML of anybody's: plain values, and no text that grows while it is read."""

import pytest

from lt_bench.config.yaml_text import parse_yaml, refuse_aliases


def test_plain_values_come_back():
    assert parse_yaml("a: {b: [1, 2.5, null]}\nc: ${a.b}\nd: a*b & c\n") == {
        "a": {"b": [1, 2.5, None]}, "c": "${a.b}", "d": "a*b & c"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "a: &x {b: 1}\nc: {<<: *x}\n", "- &x 1\n- *x\n", "[&x 1,*x]"])
def test_repeated_parts_are_refused(text):
    with pytest.raises(ValueError, match="repeats a part by name"):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["a: '*x'\n", "a: 2 *x\n", "# *x\na: 1\n", "a: b  # see *x\n"])
def test_stars_that_repeat_nothing_are_text(text):
    refuse_aliases(text)


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object/apply:os.system [x]", "\x00", "[" * 2000])
def test_what_is_no_plain_yaml_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_yaml(text)
