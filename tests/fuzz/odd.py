"""Inputs that are nearly right: texts with letters changed, trees of JSON with one node replaced, bytes damaged."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# What a name of a file may hold that is no UTF-8, and what Python makes of it on a command line.
BYTES_THAT_ARE_NO_TEXT = "".join(map(chr, range(0xDC80, 0xDD00)))
letters = st.one_of(
    st.sampled_from("=,:;()[]{}<>'\"\\/$%&|*?!@#~+-_. \t\n0123456789eEnaifN"),
    st.characters(min_codepoint=1, exclude_categories=("Cs",)),
    st.sampled_from(BYTES_THAT_ARE_NO_TEXT),
)
texts = st.one_of(
    st.text(letters, max_size=12), st.builds(lambda one, n: one * n, letters, st.sampled_from([300, 10_000]))
)
numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, -(2**63), 2**64, 10**30, 10**400, 0.5, -0.0, 1e308, 5e-324]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


values = st.one_of(
    scalars,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
    ),
    st.sampled_from([50, 500]).map(_nested),
)


@st.composite
def changed(draw: Callable[..., Any], valid: SearchStrategy[str]) -> str:
    """A text with a few places changed: letters put in, taken out, or a piece repeated."""
    text = draw(valid)
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 3)))
        text = text[:start] + draw(st.one_of(st.just(""), letters, st.just(text[start:end] * 2))) + text[end:]
    return text


@st.composite
def replaced(draw: Callable[..., Any], valid: Any, changes: int = 2) -> Any:
    """A tree of lists and dictionaries with a few nodes of it replaced, taken out, renamed or put in beside others."""
    tree = copy.deepcopy(valid)
    for _ in range(draw(st.integers(0, changes))):
        places = list(_places(tree))
        if not places:
            return draw(values)
        node, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["replace", "replace", "replace", "take out", "rename", "put in", "whole"]))
        if change == "whole":
            return draw(values)
        if change == "replace":
            node[key] = draw(values)
        elif change == "take out":
            del node[key]
        elif isinstance(node, list):
            node.insert(key, draw(values))
        else:
            node[draw(texts)] = node.pop(key) if change == "rename" else draw(values)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree below its root: what it is in, and its key or index there."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


@st.composite
def damaged(draw: Callable[..., Any], valid: SearchStrategy[bytes]) -> bytes:
    """Bytes of which some are changed, cut off, repeated, or all are others."""
    content = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 8, 100])))
        content[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(content[start:end] * 2))))
    if draw(st.integers(0, 9)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)
