"""The page of all keys of a config, from the settings that declare them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lt_bench.cli.explain import bounded, default_shown
from lt_bench.config.annotations import wanted
from lt_bench.config.compose import groups
from lt_bench.config.keys import CLASS, Key, fields_of, look_up
from lt_bench.config.schema import Config

from .markdown import code, page, prose, table


def settings_page() -> str:
    """A table for every node of a config: its keys, what they take, their defaults, and whether they affect results."""
    return page(
        "# Settings",
        "Every key of a config, as it is typed: `KEY=VALUE`. The defaults are those of the program; methods, recipes, "
        "data sets and the other files of `conf/` have values of their own, and `python -m lt_bench --help KEY` says "
        "where the value of a run comes from. A key that affects no result is no part of a run's identity. Of a node "
        "that names a class the parameters of the class are keys too: for methods they are on "
        "[their pages](../methods.md).",
        *_node("", Config),
    )


def _node(key: str, owner: type) -> Iterator[str]:
    """The single values of a node, and then the nodes in it."""
    keys = {f"{key}.{name}".strip("."): look_up(f"{key}.{name}".strip(".")) for name in fields_of(owner)}
    if rows := [_row(name, one) for name, one in keys.items() if not one.is_node and not name.endswith(CLASS)]:
        yield table(["key", "takes", "default", "affects results", "meaning"], rows)
    for name, one in keys.items():
        if one.is_node:
            yield f"## {code(name)}"
            yield prose(one.setting.help[:1].upper() + one.setting.help[1:] + ".") + _choices(name) + _class(one)
            yield from _node(name, one.below) if one.below else ()


def _row(name: str, key: Key) -> list[str]:
    takes = bounded(wanted(ast.parse(key.annotation, mode="eval").body), key.setting)
    default = default_shown(key.default)
    known = code(default) if default and " " not in default else prose(default)
    return [code(name), prose(takes), known, "yes" if key.affects_result else "no", prose(key.setting.help)]


def _choices(name: str) -> str:
    group = name.removeprefix("train.")  # the only group whose node is not of its name: optimizer
    return f" Choices: {', '.join(map(code, groups()[group]))}." if group in groups() and group != "recipe" else ""


def _class(key: Key) -> str:
    return " Its class (`_target_`) has parameters beside these keys." if key.is_open and key.below else ""
