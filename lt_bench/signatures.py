"""Signatures of ``_target_`` classes read from their source, so that a config is checked without importing torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

# What the engine hands over itself; a config never names these.
SUPPLIED = frozenset({"self", "cls", "encoder", "info"})
REQUIRED = object()  # no default
OPAQUE = object()  # a default that is no literal


class TargetError(ValueError):
    """A ``_target_`` that cannot be found."""


class Parameter(NamedTuple):
    """A constructor parameter: its default (or REQUIRED, OPAQUE) and its annotation with module-level names resolved."""

    default: Any
    annotation: ast.expr | None


class _Source(NamedTuple):
    module: ast.Module
    node: ast.ClassDef | ast.FunctionDef
    package: str


def parameters(target: str) -> dict[str, Parameter]:
    """Parameters of a class's constructor, a dataclass or a function that a config may set, by name.

    Raises TargetError where the target does not exist.
    """
    source = _find(target)
    if isinstance(source.node, ast.FunctionDef):
        return _of_function(source.node, source.module)
    for owner in _ancestry(source):
        assert isinstance(owner.node, ast.ClassDef)
        for item in owner.node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return _of_function(item, owner.module)
        if any("dataclass" in ast.unparse(decorator) for decorator in owner.node.decorator_list):
            return _of_dataclass(owner.node, owner.module)
    return {}


def constant(target: str, name: str, default: Any = None) -> Any:
    """A literal that a class (or an ancestor) assigns to ``name`` in its body, else ``default``."""
    for owner in _ancestry(_find(target)):
        for item in getattr(owner.node, "body", []):
            names = [item.target] if isinstance(item, ast.AnnAssign) else getattr(item, "targets", [])
            if any(isinstance(n, ast.Name) and n.id == name for n in names) and getattr(item, "value", None):
                return _literal(item.value)
    return default


def fits(value: Any, annotation: ast.expr | None) -> bool:
    """Whether a config value may be passed to a parameter with this annotation; unknown annotations accept all."""
    if isinstance(annotation, ast.BinOp):
        return fits(value, annotation.left) or fits(value, annotation.right)
    if isinstance(annotation, ast.Constant):
        return value is None if annotation.value is None else True
    if isinstance(annotation, ast.Name):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        checks = {
            "int": number and isinstance(value, int),
            "float": number,
            "bool": isinstance(value, bool),
            "str": isinstance(value, str),
        }
        return checks.get(annotation.id, True)
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value).split(".")[-1]
        if outer == "Literal":
            return value in allowed_words(annotation)
        if outer in {"Sequence", "list", "tuple"}:
            inner = annotation.slice.elts[0] if isinstance(annotation.slice, ast.Tuple) else annotation.slice
            return isinstance(value, (list, tuple)) and all(fits(item, inner) for item in value)
    return True


def canonical(value: Any, annotation: ast.expr | None) -> Any:
    """The value as the parameter means it: 1 for a float parameter is 1.0, a tuple is a list."""
    if isinstance(annotation, ast.Name) and annotation.id == "float" and isinstance(value, int):
        return float(value)
    return list(value) if isinstance(value, tuple) else value


def allowed_words(annotation: ast.expr | None) -> list[Any]:
    """The values of a ``Literal[...]`` annotation, else an empty list."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).split(".")[-1] == "Literal":
        elements = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return [_literal(element) for element in elements]
    return []


def _of_function(node: ast.FunctionDef, module: ast.Module) -> dict[str, Parameter]:
    positional = node.args.posonlyargs + node.args.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = list(zip(positional, defaults, strict=True))
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    return {
        argument.arg: Parameter(REQUIRED if default is None else _literal(default), _expand(argument.annotation, module))
        for argument, default in pairs
        if argument.arg not in SUPPLIED
    }


def _of_dataclass(node: ast.ClassDef, module: ast.Module) -> dict[str, Parameter]:
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return {
        item.target.id: Parameter(
            REQUIRED if item.value is None else _literal(item.value), _expand(item.annotation, module)
        )
        for item in fields
        if isinstance(item.target, ast.Name) and "ClassVar" not in ast.unparse(item.annotation)
    }


def _expand(annotation: ast.expr | None, module: ast.Module) -> ast.expr | None:
    """Replace an alias such as ``Law = Literal[...]`` by what it stands for."""
    if isinstance(annotation, ast.Name):
        for item in module.body:
            if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == annotation.id:
                return item.value
    return annotation


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return OPAQUE
    return list(value) if isinstance(value, tuple) else value


def _ancestry(source: _Source) -> Iterator[_Source]:
    """The class and its bases, nearest first, as far as their source is found."""
    yield source
    for base in getattr(source.node, "bases", []):
        try:
            yield from _ancestry(_find(_absolute(ast.unparse(base), source)))
        except TargetError:
            continue


def _absolute(name: str, source: _Source) -> str:
    first, _, rest = name.partition(".")
    for item in ast.walk(source.module):
        if isinstance(item, ast.ImportFrom) and item.module and item.level == 0:
            for alias in item.names:
                if (alias.asname or alias.name) == first:
                    return ".".join(filter(None, [item.module, alias.name, rest]))
    return f"{source.package}.{name}"


@cache
def _find(target: str) -> _Source:
    module_name, _, name = target.rpartition(".")
    path = module_file(module_name)
    if path is not None:
        module = ast.parse(path.read_text(encoding="utf-8"))
        for item in module.body:
            if isinstance(item, (ast.ClassDef, ast.FunctionDef)) and item.name == name:
                return _Source(module, item, module_name)
    raise TargetError(f"_target_={target}: no class or function {name!r} in a module {module_name!r} on the import path")


def module_file(name: str) -> Path | None:
    """The source file of a module, found without importing anything; None where there is none."""
    first, *rest = name.split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or []:
        base = Path(folder).joinpath(*rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None
