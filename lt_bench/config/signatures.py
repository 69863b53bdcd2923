"""Signatures of ``_target_`` classes read from their source, so that a config is checked without importing torch."""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lt_bench.config.annotations import coerce
from lt_bench.files import SMALL, read_text

# What the engine hands over itself; a config never names these.
SUPPLIED = frozenset({"self", "cls", "encoder", "info", "place"})
REQUIRED = object()  # no default
OPAQUE = object()  # a default that is no literal
SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)  # of modules, in Python's order


class TargetError(ValueError):
    """A ``_target_`` that cannot be found."""


class Parameter(NamedTuple):
    """A constructor parameter: its default (or REQUIRED, OPAQUE) and its annotation, aliases resolved."""

    default: Any
    annotation: ast.expr | None


class _Module(NamedTuple):
    tree: ast.Module
    name: str
    package: str  # from which its relative imports count


class _Source(NamedTuple):
    node: ast.ClassDef | ast.FunctionDef
    module: _Module


@cache
def parameters(target: str) -> dict[str, Parameter]:
    """Parameters of a class's constructor, a dataclass or a function that a config may set, by name.

    A constructor that takes ``**keywords`` also has the parameters of the next one among its ancestors.
    Raises TargetError where the target does not exist.
    """
    return _signature(target)[0]


@cache
def takes_more(target: str) -> bool:
    """Whether a function or a constructor takes any further keywords: ``**keywords`` that go to no ancestor.

    What they may be is known to whatever it hands them to. Raises TargetError where the target does not exist.
    """
    return _signature(target)[1]


def _signature(target: str) -> tuple[dict[str, Parameter], bool]:
    """The parameters of a target, and whether it takes any others."""
    source = _find(target)
    if isinstance(source.node, ast.FunctionDef):
        return _of_function(source.node, source.module), source.node.args.kwarg is not None
    found: dict[str, Parameter] = {}
    constructors = 0
    for owner in _ancestry(source):
        assert isinstance(owner.node, ast.ClassDef)
        functions = [item for item in owner.node.body if isinstance(item, ast.FunctionDef)]
        constructor = next((item for item in functions if item.name == "__init__"), None)
        if constructor:
            if owner.module.name == "torch.nn.modules.module":  # that of nn.Module, which takes none after all
                break
            constructors += 1
            found = {**_of_function(constructor, owner.module), **found}
            if constructor.args.kwarg is None:
                return found, False
        elif any("dataclass" in ast.unparse(decorator) for decorator in owner.node.decorator_list):
            found = {**_of_dataclass(owner.node, owner.module), **found}
    return found, constructors > 0


@cache
def class_attribute(target: str, name: str, default: Any = None) -> Any:
    """What a class (or an ancestor) assigns to ``name`` in its body: a literal, OPAQUE, or else ``default``."""
    for owner in _ancestry(_find(target)):
        for item in getattr(owner.node, "body", []):
            names = [item.target] if isinstance(item, ast.AnnAssign) else getattr(item, "targets", [])
            if any(isinstance(n, ast.Name) and n.id == name for n in names) and getattr(item, "value", None):
                return _literal(item.value)
    return default


@cache
def docstrings(target: str) -> list[str]:
    """What a class and its ancestors, nearest first, or a function say of themselves; those that say anything."""
    return [text for owner in _ancestry(_find(target)) if (text := ast.get_docstring(owner.node))]


def defined_in(target: str) -> str:
    """The module in which a target is defined, wherever else it is imported; raises TargetError."""
    return _find(target).module.name


def module_file(module: str) -> Path | None:
    """The file of a module, its source or compiled, found without importing anything; None where there is none."""
    return _file(module)


def home_of(top: str) -> Path | None:
    """The folder that a module or package without a dot in its name lies in; None where there is none."""
    spec = _spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return Path(spec.origin).parent if spec.origin and spec.origin.endswith(SUFFIXES) else None
    places = [Path(place).parent for place in spec.submodule_search_locations]
    return places[0] if len(places) == 1 else None


@cache
def holds_libraries(folder: Path) -> bool:
    """Whether a folder is one that Python's own or installed modules lie in."""
    libraries = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return folder in libraries or folder.name in ("site-packages", "dist-packages")


def imported_by(module: str) -> set[str]:
    """The full names of all that a module's source imports, also inside functions; raises TargetError.

    ``from a import b`` names both ``a`` and ``a.b``, which may be a module.
    """
    found, source = set[str](), _module(module)
    for item in ast.walk(source.tree) if source else ():
        if isinstance(item, ast.Import):
            found |= {alias.name for alias in item.names}
        elif source and isinstance(item, ast.ImportFrom):
            origin = _origin(item, source)
            names = [alias.name for alias in item.names]
            names = _taken_with_star(origin) if names == ["*"] else names
            found |= {origin, *(f"{origin}.{name}".strip(".") for name in names)} - {""}
    return found


def _taken_with_star(package: str) -> list[str]:
    """What ``from package import *`` may import: what is in ``__all__``, any module there where that is made up."""
    path = _file(package)
    source = _module(package) if path and path.name == "__init__.py" else None
    listed: list[Any] = []
    for item in ast.walk(source.tree) if source else ():
        names = getattr(item, "targets", [getattr(item, "target", None)])
        if any(isinstance(name, ast.Name) and name.id == "__all__" for name in names):
            listed.append(_literal(getattr(item, "value", None) or ast.List([])))
    if path and not all(isinstance(names, list) for names in listed):
        return sorted({entry.name.partition(".")[0] for entry in path.parent.iterdir()} - {"__init__", "__pycache__"})
    return [str(name) for names in listed for name in names]


def is_dotted_name(text: str) -> bool:
    """Whether a text is made of Python's names with dots between them."""
    return all(part.isidentifier() for part in text.split("."))


def _of_function(node: ast.FunctionDef, module: _Module) -> dict[str, Parameter]:
    positional = node.args.posonlyargs + node.args.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = list(zip(positional, defaults, strict=True))
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    return {
        argument.arg: _parameter(default, argument.annotation, module)
        for argument, default in pairs
        if argument.arg not in SUPPLIED
    }


def _of_dataclass(node: ast.ClassDef, module: _Module) -> dict[str, Parameter]:
    return {
        item.target.id: _parameter(_first_of_setting(item.value), item.annotation, module)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        if "ClassVar" not in ast.unparse(item.annotation)
    }


def _first_of_setting(value: ast.expr | None) -> ast.expr | None:
    """The default of a field: where it is made by ``setting(default, ...)``, what is given first."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "setting":
        return value.args[0] if value.args else None
    return value


def _parameter(default: ast.expr | None, annotation: ast.expr | None, module: _Module) -> Parameter:
    annotation = _resolved(annotation, module)
    if default is None or ast.unparse(default) == "MISSING":  # a config's word for: must be given
        return Parameter(REQUIRED, annotation)
    return Parameter(coerce(_literal(default), annotation), annotation)


def _resolved(annotation: ast.expr | None, module: _Module) -> ast.expr | None:
    """An alias such as ``Law = Literal[...]`` stands for its value, alone and as the items of a list."""
    if isinstance(annotation, ast.Name):
        return _alias(annotation.id, module) or annotation
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Name):
        item = _alias(annotation.slice.id, module) or annotation.slice
        return ast.Subscript(annotation.value, item, annotation.ctx)
    return annotation


def _alias(name: str, module: _Module | None) -> ast.expr | None:
    """What a module assigns to a name, or the module that the name is imported from; None where nothing does."""
    if module is None:
        return None
    for item in module.tree.body:
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == name:
            return item.value
    origin, _, name = _absolute(name, module).rpartition(".")
    return None if origin == module.name or _is_standard(origin) else _alias(name, _module(origin))


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return OPAQUE
    return list(value) if isinstance(value, tuple) else value


def _ancestry(source: _Source) -> Iterator[_Source]:
    """The class and its bases as far as their source is found, nearest first, a base after all that derive from it.

    Bases are read only when they are asked for: PyTorch's are long.
    """
    yield source
    above = [owner for base in _bases(source) for owner in _mro(base)]
    yield from (owner for place, owner in enumerate(above) if owner not in above[place + 1 :])


def _mro(source: _Source) -> Iterator[_Source]:
    yield source
    for base in _bases(source):
        yield from _mro(base)


def _bases(source: _Source) -> Iterator[_Source]:
    for base in getattr(source.node, "bases", []):
        name = _absolute(ast.unparse(base.value if isinstance(base, ast.Subscript) else base), source.module)
        with suppress(TargetError):
            if not _is_standard(name):
                yield _find(name)


def _is_standard(name: str) -> bool:
    """Whether a name is Python's own: ``Protocol`` and ``Path`` add no parameters, and their sources are long."""
    return name.partition(".")[0] in sys.stdlib_module_names


def _absolute(name: str, module: _Module) -> str:
    """The full name of what a module calls ``name``."""
    first, dot, rest = name.partition(".")
    return _imported(module).get(first, f"{module.name}.{first}") + dot + rest


@cache
def _imported(module: _Module) -> dict[str, str]:
    """The names that a module's import statements give, with the full names of what they stand for."""
    found: dict[str, str] = {}
    for item in _statements(module.tree.body):
        if isinstance(item, ast.Import):
            for alias in item.names:  # ``import a.b`` gives the name ``a``
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                found.setdefault(alias.asname or name, name)
        elif isinstance(item, ast.ImportFrom):
            origin = _origin(item, module)
            for alias in item.names:
                found.setdefault(alias.asname or alias.name, f"{origin}.{alias.name}".strip("."))
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under ``if`` and ``try`` included."""
    yield from body
    for item in body:
        if isinstance(item, (ast.If, ast.Try)):
            handled = [handler.body for handler in getattr(item, "handlers", [])]
            for part in (item.body, *handled, item.orelse, getattr(item, "finalbody", [])):
                yield from _statements(part)


def _origin(item: ast.ImportFrom, module: _Module) -> str:
    """The full name of the module that a ``from ... import`` names."""
    above = module.package.split(".")[: 1 - item.level or None] if item.level else []
    return ".".join(filter(None, [*above, item.module]))


@cache
def _find(target: str) -> _Source:
    module_name, _, name = target.rpartition(".")
    module = _module(module_name)
    if module is None:
        raise TargetError(
            f"_target_={target}: no module {module_name!r} on the import path or in the current folder; write "
            "module.Class"
        )
    for item in module.tree.body:
        if isinstance(item, (ast.ClassDef, ast.FunctionDef)) and item.name == name:
            return _Source(item, module)
    elsewhere = _absolute(name, module)
    if elsewhere == target:
        for origin in _taken_whole(module):
            with suppress(TargetError):
                return _find(f"{origin}.{name}")
        raise TargetError(f"_target_={target}: module {module_name!r} has no class or function {name!r}")
    return _find(elsewhere)


def _taken_whole(module: _Module) -> list[str]:
    """The modules from which a module imports ``*``, the last first."""
    imports = [item for item in module.tree.body if isinstance(item, ast.ImportFrom)]
    return [_origin(item, module) for item in reversed(imports) if item.names[0].name == "*"]


def _module(name: str) -> _Module | None:
    """A module's parsed source, found without importing anything; None where there is none."""
    path = _file(name)
    if path is None or path.suffix != ".py":
        return None
    try:
        status = path.stat()
        return _parsed(path, name, status.st_size, status.st_mtime_ns)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
        raise TargetError(f"_target_: cannot read {path}: {error}") from error


@cache
def _parsed(path: Path, name: str, size: int, changed: int) -> _Module:
    """A file parsed once while it stays the same."""
    tree = ast.parse(read_text(path, SMALL))
    return _Module(tree, name, name if path.name == "__init__.py" else name.rpartition(".")[0])


def _spec(top: str) -> ModuleSpec | None:
    """Where a module without a dot in its name is; Python imports nothing to find that out.

    The current folder comes first or last: first where Python itself looks there, as it does for ``python -m``.
    """
    try:
        return (find_spec(top) or PathFinder.find_spec(top, [os.getcwd()])) if is_dotted_name(top) else None
    except (ImportError, ValueError, OSError):
        return None


def _file(name: str) -> Path | None:
    first, *rest = name.split(".")
    spec = _spec(first)
    if spec is None or not is_dotted_name(name):
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(SUFFIXES) else None
    for folder in spec.submodule_search_locations or []:
        base = Path(folder).joinpath(*rest)
        for stem in (base / "__init__", base):  # of both, Python takes the package
            for suffix in SUFFIXES:
                if (path := stem.with_name(f"{stem.name}{suffix}")).is_file():
                    return path
    return None
