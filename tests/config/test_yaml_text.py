"""YAML of anybody's: plain values, and no text that grows while it is read."""

import pytest

from lt_bench.config.yaml_text import check_size, parse_yaml


def test_plain_values_come_back():
    assert parse_yaml("a: {b: [1, 2.5, null]}\nc: ${a.b}\nd: a*b & c\n") == {
        "a": {"b": [1, 2.5, None]}, "c": "${a.b}", "d": "a*b & c"
    }  # fmt: skip


LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'] * 9)}]" for n in range(12))


def test_a_text_that_grows_by_repetition_is_refused():
    with pytest.raises(ValueError, match="repeats parts of it .* to more than 100,000 values"):
        parse_yaml(LAUGHS)
    with pytest.raises(ValueError, match="repeats parts of it"):
        parse_yaml("a: &x [1, *x]\n")
    assert parse_yaml("\n".join(LAUGHS.splitlines()[:3]))["a2"][8][8] == ["x"] * 9


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "a: '*x'\n", "a: 2 *x\n", "# *x\na: 1\n", "a: b  # see *x\n"])
def test_other_stars_change_nothing(text):
    check_size(text)


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object/apply:os.system [x]", "\x00", "[" * 2000])
def test_what_is_no_plain_yaml_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_yaml(text)
