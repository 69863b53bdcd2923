"""What fits an annotation, in which form, and what to call it."""

import ast

import pytest

from lt_bench.config.annotations import accepts, coerce, wanted


def annotation(text):
    return None if text is None else ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("int", [0, -3], [1.0, True, "1", None, [1]]),
        ("float", [0, 0.5, -1.5], [False, "0.5", None]),
        ("bool", [True, False], [0, 1, "true", None]),
        ("str", ["", "a b"], [1, None, ["a"]]),
        ("int | None", [3, None], [3.5, "none"]),
        ("Optional[float]", [1, None], ["x"]),
        ("Union[int, str]", [1, "x"], [1.5, None]),
        ("Literal['a', 'b']", ["a"], ["c", None]),
        ("typing.Literal[1, 2]", [1], [3]),
        ("Literal['a'] | None", ["a", None], ["b"]),
        ("Sequence[str]", [["a"], [], ("a", "b")], ["a", [1], None]),
        ("list[float]", [[1, 0.5]], [["x"], 0.5]),
        ("tuple[int, ...]", [[1, 2, 3]], [[1, "x"]]),
        ("tuple[int, str]", [[1, "x"]], [["x", 1], [1], [1, "x", "x"]]),
        ("Tuple[float, float]", [[1, 0.5]], [[1, "x"], [0.5]]),
        ("tuple", [[], [1, "x"]], [1]),
        ("float | Tensor", [0.5, 1], ["x", None]),
        ("Union[float, torch.Tensor]", [0.5], ["x"]),
        ("list", [[1, "x", None]], [1]),
        ("None", [None], [0]),
        ("nn.Module", [1, None, "anything"], []),
        (None, [1, None, "anything"], []),
    ],
)
def test_fits(text, good, bad):
    assert [value for value in good if not accepts(value, annotation(text))] == []
    assert [value for value in bad if accepts(value, annotation(text))] == []


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("float", 1, 1.0),
        ("int", 1, 1),
        ("float | None", 1, 1.0),
        ("float | None", None, None),
        ("Sequence[float]", (1, 2), [1.0, 2.0]),
        ("Sequence[int]", [1, 2], [1, 2]),
        ("tuple[int, float]", [1, 2], [1, 2.0]),
        ("float | Tensor", 1, 1.0),
        ("tuple[float | Tensor, float | Tensor]", [0, 1], [0.0, 1.0]),
        ("bool", True, True),
        ("str", "1", "1"),
        (None, (1, "x"), [1, "x"]),
    ],
)
def test_canonical(text, value, expected):
    found = coerce(value, annotation(text))
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", "a whole number"),
        ("float | None", "a number or null"),
        ("Literal['a', 'b']", "a, b"),
        ("Sequence[str]", "a list, each item a word"),
        ("list", "a list, each item a value"),
        ("nn.Module", "nn.Module"),
        (None, "a value"),
    ],
)
def test_wanted(text, expected):
    assert wanted(annotation(text)) == expected
