"""Annotations of parameters, as read from source: what fits them, and what to call it in a message."""

from __future__ import annotations

import ast
from typing import Any

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a word",
    "dict": "keys with their values",
}
LISTS = ("Sequence", "list", "tuple", "List", "Tuple")


def accepts(value: Any, annotation: ast.expr | None) -> bool:
    """Whether a config value may be passed to a parameter with this annotation; unknown annotations accept all."""
    outer, inner = _taken_apart(annotation)
    if outer == "Union":
        return any(accepts(value, option) for option in inner)
    if outer == "Literal":
        return value in _words(inner)
    if outer in LISTS:
        fits = isinstance(value, (list, tuple)) and _length(outer, inner) in (None, len(value))
        return fits and all(map(accepts, value, _items(inner, len(value))))
    if outer == "None":
        return value is None
    if outer == "Tensor":  # beside a number, in constructors of PyTorch; no config holds one
        return False
    if outer in ("int", "float"):
        return isinstance(value, (int, float) if outer == "float" else int) and not isinstance(value, bool)
    return isinstance(value, {"bool": bool, "str": str}.get(outer, object))


def coerce(value: Any, annotation: ast.expr | None) -> Any:
    """A fitting value as the parameter means it: 1 for a float parameter is 1.0, a tuple is a list."""
    outer, inner = _taken_apart(annotation)
    if outer == "Union":
        return coerce(value, next((option for option in inner if accepts(value, option)), None))
    if isinstance(value, (list, tuple)):
        return list(map(coerce, value, _items(inner, len(value))))
    return float(value) if outer == "float" and isinstance(value, int) else value


def wanted(annotation: ast.expr | None) -> str:
    """The allowed values in words: the choices of a ``Literal``, else a kind such as «a whole number»."""
    outer, inner = _taken_apart(annotation)
    if outer == "Union":
        return " or ".join(wanted(option) for option in inner if _taken_apart(option)[0] != "Tensor")
    if outer == "Literal":
        return ", ".join(map(str, _words(inner)))
    if outer in LISTS:
        length = _length(outer, inner)
        item = f", each item {wanted(_items(inner, 1)[0])}" if not inner or any(map(_says, inner)) else ""
        return f"a list{f' of {length}' if length else ''}{item}"
    if outer == "None":
        return "null"
    return KINDS.get(outer, "a value" if annotation is None else ast.unparse(annotation))


def _taken_apart(annotation: ast.expr | None) -> tuple[str, list[ast.expr]]:
    """The last name of an annotation and what it is made of: ``X | None`` and ``Optional[X]`` are Unions."""
    if isinstance(annotation, ast.BinOp):
        return "Union", [annotation.left, annotation.right]
    if isinstance(annotation, ast.Subscript):
        inside = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        outer = _taken_apart(annotation.value)[0]
        return ("Union", [*inside, ast.Constant(None)]) if outer == "Optional" else (outer, inside)
    return ("" if annotation is None else ast.unparse(annotation).split(".")[-1]), []


def _items(inner: list[ast.expr], count: int) -> list[ast.expr | None]:
    """The annotation of every item of a list: the only one for all, or one each as in ``tuple[int, str]``."""
    own = [option for option in inner if not _is_ellipsis(option)]
    return [own[index] if len(own) > 1 and index < len(own) else next(iter(own), None) for index in range(count)]


def _length(outer: str, inner: list[ast.expr]) -> int | None:
    """How many items a list has, as in ``tuple[float, float]``; None: any number."""
    fixed = outer in ("tuple", "Tuple") and inner and not any(map(_is_ellipsis, inner))
    return len(inner) if fixed else None


def _is_ellipsis(option: ast.expr) -> bool:
    return isinstance(option, ast.Constant) and option.value is ...


def _says(option: ast.expr) -> bool:
    return _taken_apart(option)[0] != "Any"


def _words(literals: list[ast.expr]) -> list[Any]:
    return [ast.literal_eval(literal) for literal in literals]
