"""The text of ``--help KEY``: what a key or a choice means, what it takes, and where its present value comes from."""

from __future__ import annotations

import ast
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.cli.origin import Source, last_setting, sources
from lt_bench.config import epochs, optimizers
from lt_bench.config.annotations import wanted
from lt_bench.config.compose import about, compose, groups, references, shown
from lt_bench.config.conf import names_in, place_of, values_of
from lt_bench.config.keys import CLASS, Key, affects_result, fields_of, find, is_parameter, look_up, nearest
from lt_bench.config.recipes import LISTS, NONE, parts_of, taken_from
from lt_bench.config.schema import flat
from lt_bench.config.settings import Setting
from lt_bench.config.signatures import OPAQUE, REQUIRED, Parameter, TargetError, docstrings, parameters
from lt_bench.config.stages import StageName, stage_of
from lt_bench.errors import UsageError

WIDTH = 118


def explain(asked: str, overrides: Sequence[str]) -> str:
    """What ``--help KEY`` or ``--help group=choice`` prints, with values as other overrides make them.

    Raises UsageError for an unknown key, with the nearest one, and for wrong overrides.
    """
    key, equals, choice = asked.partition("=")
    try:
        meant = _meant_for(choice) if key == "recipe" else []
        explanation = _Explanation([*meant, *overrides, asked] if equals else overrides)
    except UsageError as error:
        if choice not in groups().get(key, []):
            raise
        return "\n".join(_head(key, choice, str(error)))  # a choice that goes with other choices than these
    return "\n".join(explanation.of(key, choice))


def _meant_for(recipe: str) -> list[str]:
    """The choices that a recipe is for: its method, its data set, and the stage-two rule that its values name."""
    known = groups()
    pairs = ((method, data) for method in known["method"] for data in known["dataset"])
    method, dataset = next(((m, d) for m, d in pairs if re.match(rf"{m}_{d}(_|$)", recipe)), ("", ""))
    file = parts_of(recipe)["recipe"]
    file = taken_from()[file].recipe if file in taken_from() else file
    values = values_of(f"recipe/{file}") if file in names_in("recipe") else {}
    rule = values.get("stage_two", {}).get("name", "")
    chosen = {"method": method, "dataset": dataset, "stage_two": rule}
    return [f"{group}={choice}" for group, choice in chosen.items() if choice in known[group]]


class _Explanation:
    """A composed config, and all that sets its values."""

    def __init__(self, overrides: Sequence[str]) -> None:
        self.config = compose(overrides)
        self.sources: list[Source] = sources(overrides)

    def of(self, key: str, choice: str) -> Iterator[str]:
        """The lines on a key, or on a choice of a group."""
        found = find(key)
        options = {"choices": ", ".join(groups()[key])} if key in groups() else {}
        if choice and key in groups():
            yield from (*_head(key, choice), "")
            node = "train.optimizer" if key == "optimizer" else key if found and found.is_node and found.below else None
            node = f"{key}.{choice}" if key in LISTS and choice != NONE else node
            taken = key == "recipe" and taken_from().get(choice)
            file = place_of(f"recipe/{taken.recipe}") if taken else _file(key, choice)
            yield from self._node(node) if node else self._set_by(file)
        elif found is None and options:
            yield from (key, *_facts(options))
        elif found is None:
            yield from self._parameter(key) if is_parameter(key) else [str(look_up(key))]
        elif found.is_node:
            affects = {"affects result": "yes" if found.affects_result else "no"}
            yield from (key, *_wrapped(found.setting.help), *_facts(options | affects), "", *self._node(key))
        else:
            yield from (key, *_wrapped(found.setting.help), *_facts(options | self._single(key, found)))

    def _single(self, key: str, found: Key) -> dict[str, str]:
        takes = bounded(wanted(ast.parse(found.annotation, mode="eval").body), found.setting)
        affects = "yes" if found.affects_result else "no"
        now = self._now(key, REQUIRED if found.default == MISSING else found.default)
        facts = {"takes": takes, "default": default_shown(found.default), "affects result": affects, "now": now}
        stage = next((stage for stage in StageName if key == f"{stage.training}.epochs"), None)
        return facts | self._moving(stage) if stage else facts

    def _moving(self, stage: StageName) -> dict[str, str]:
        """The epochs of a stage's recipe, and what moves with others, with its present values."""
        recipe = epochs.lengths(self.config)[stage]
        keys = epochs.moving(self.config, stage)
        values = ", ".join(f"{key} (now {self._value(key)})" for key in keys) or "nothing else is counted in epochs"
        moves = values if self.config.budget.rescale else f"nothing, because of budget.rescale=false: {values}"
        return {} if recipe is None else {"recipe": str(recipe), "moves with it": moves}

    def _value(self, key: str) -> str:
        """The present value of a key, as it is typed."""
        try:
            value = OmegaConf.select(self.config, key)
            return shown(OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value)
        except OmegaConfBaseException as error:
            return shown(str(error).splitlines()[0])

    def _parameter(self, key: str) -> Iterator[str]:
        """The lines on a parameter of a class, or on a part of a class that is a node."""
        above, _, name = key.rpartition(".")
        target, known = self._class(above)
        if name == "name" and above in optimizers.NODES:
            facts = {"takes": ", ".join(optimizers.names()), "now": f"{target}, the class that it stands for"}
            yield from (
                key,
                *_wrapped("a file of conf/optimizer: it stands for a class and its values"),
                *_facts(facts),
            )
            return
        if name == CLASS:
            yield from (key, *_wrapped("the class or function, as module.Name"), *_facts({"now": self._now(key)}))
            return
        if name not in known:
            names = [*known, *(fields_of(found.below) if (found := find(above)) and found.below else ())]
            raise UsageError(f"unknown key {key}{nearest(name, names)}; {target} takes {', '.join(known) or 'none'}")
        takes = bounded(wanted(known[name].annotation), optimizers.range_of(key) or Setting(""))
        default = default_shown(known[name].default)
        facts = {
            "class": target,
            "takes": takes,
            "default": default,
            "affects result": "yes" if affects_result(key) else "no",
        }
        with references():
            is_node = isinstance(OmegaConf.select(self.config, key), DictConfig)
        now = {} if is_node else {"now": self._now(key, known[name].default)}
        yield from (key, *_wrapped(said_of(name, target)), *_facts(facts | now))
        yield from ("", *self._node(key)) if is_node else ()

    def _node(self, key: str) -> Iterator[str]:
        """The keys of a node in a table: present value, and what they mean or, for parameters of a class, take."""
        found = find(key)
        if found and found.setting.of_nodes:
            for name in self.config[key]:
                yield from (f"{key}.{name}", *self._node(f"{key}.{name}"), "")
            return
        rows = []
        for name in fields_of(found.below) if found and found.below else ():
            inner = look_up(f"{key}.{name}")
            rows.append((f"{key}.{name}", "..." if inner.is_node else self._now(f"{key}.{name}"), inner.setting.help))
        if found is None or found.is_open:
            target, known = self._class(key)
            text = (
                "" if key in optimizers.NODES else next(iter(docstrings(target)), "")
            )  # PyTorch makes them at run time
            yield from (f"class {target}", *_wrapped(text.partition("\n\n")[0]), "")
            node = OmegaConf.select(self.config, key)
            for name, parameter in known.items():
                now = (
                    "..."
                    if isinstance(_known(node, name), DictConfig)
                    else self._now(f"{key}.{name}", parameter.default)
                )
                takes = f"{wanted(parameter.annotation)}; default {default_shown(parameter.default)}"
                rows.append((f"{key}.{name}", now, takes))
        yield from _table(rows)

    def _set_by(self, file: str) -> Iterator[str]:
        """The keys that a file sets."""
        values: dict[str, Any] = next((source.values for source in self.sources if source.name == file), {})
        yield from _table((key, self._now(key), "") for key in flat(values) if key != "defaults")

    def _class(self, key: str) -> tuple[str, dict[str, Parameter]]:
        """The class that a node names, and its parameters; raises UsageError where there is none."""
        node = OmegaConf.select(self.config, key)
        target = _known(node, CLASS)
        if key in optimizers.NODES:
            target = self._optimizer(key).get(CLASS)  # none for a name that no optimiser has
        try:
            if not isinstance(target, str):
                raise TargetError(f"names no class; set {key}.{CLASS}=module.Class")
            engines = optimizers.SUPPLIED if key in optimizers.NODES else ()
            return target, {name: known for name, known in parameters(target).items() if name not in engines}
        except TargetError as error:
            raise UsageError(f"{key}: {error}") from error

    def _optimizer(self, key: str) -> dict[str, Any]:
        """The class and the values that an optimiser's node stands for."""
        node = OmegaConf.select(self.config, key)
        values = OmegaConf.to_container(node) if isinstance(node, DictConfig) else {}
        return optimizers.resolved({str(name): value for name, value in dict(values).items()})  # type: ignore[arg-type]

    def _now(self, key: str, default: Any = REQUIRED) -> str:
        """The present value of a key, as it is written where it comes from too, and where that is."""
        above, _, name = key.rpartition(".")
        node = OmegaConf.select(self.config, above) if above else self.config
        if not isinstance(node, DictConfig):
            return f"no value, because {above} is null"
        if above in optimizers.NODES and name not in node.keys() and name in (values := self._optimizer(above)):
            file = place_of(f"optimizer/{_known(node, 'name') or 'sgd'}")
            return f"{shown(values[name])}, from {file}"
        if name not in node.keys():
            return "no value yet" if default is REQUIRED else f"{default_shown(default)}, the default"
        if OmegaConf.is_missing(node, name):
            return "no value yet"
        text, setting = self._value(key), last_setting(key, self.sources)
        if setting is None:
            return f"{text}, the default"
        written = ", ".join(map(str, setting[1])) if isinstance(setting[1], list) else str(setting[1])
        reference = f" ({written})" if "${" in written else ""
        mover = f", moved with {stage_of(key).training}.epochs" if key in self.config.budget.moved else ""
        return f"{text}{reference}, from {setting[0]}{mover}"


def _known(node: Any, name: str) -> Any:
    """What a node has under a name; None where it has nothing there, or a reference that leads nowhere."""
    try:
        return node.get(name) if isinstance(node, DictConfig) else None
    except OmegaConfBaseException:
        return None


def _head(group: str, choice: str, problem: str = "") -> list[str]:
    """What a choice of a group is, and where it stands; why it cannot be chosen beside the others."""
    facts = {"file": _file(group, choice)} | ({"not here": problem} if problem else {})
    return [f"{group}={choice}", *_wrapped(about(group, choice)), *_facts(facts)]


def _file(group: str, choice: str) -> str:
    """The file of a choice; recipes without one are lines of a table."""
    table = group == "recipe" and choice not in names_in("recipe")
    return "conf/recipes.yaml" if table else place_of(f"{group}/{choice}")


def default_shown(value: Any) -> str:
    """A default as it is typed; words for one that is none, or no literal."""
    if value in (REQUIRED, MISSING):
        return "none, it has to be given"
    return "an expression" if value is OPAQUE else shown(value)


def bounded(kind: str, setting: Setting) -> str:
    """What a setting takes: the kind of its values and their range, or the words."""
    if setting.choices:
        return ", ".join(setting.choices)
    kind = f"a list of {setting.length} numbers" if setting.length else kind
    above, least, most = setting.above > -math.inf, setting.least > -math.inf, setting.most < math.inf
    low = f"above {setting.above:g}" if above else f"from {setting.least:g}" if least else ""
    high = f"{'and at most' if above else 'to'} {setting.most:g}" if most else ""
    bounds = " ".join(filter(None, [low, high]))
    return f"{kind}, {bounds}" if bounds else kind


def said_of(name: str, target: str) -> str:
    """The sentences on a parameter in the docstrings of a class and its ancestors."""
    for text in docstrings(target):
        sentences = re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(text.split()))
        if said := [sentence for sentence in sentences if f"``{name}``" in sentence]:
            return " ".join(said)
    return f"a parameter of {target}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text.replace("``", ""), WIDTH, initial_indent="  ", subsequent_indent="  ")


def _facts(facts: dict[str, str]) -> list[str]:
    return [line for name, value in facts.items() for line in _cells(name, 15, value)]


def _table(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Three columns, the third of which begins a line of its own where it does not fit."""
    rows = list(rows)
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, now, meaning in rows:
        yield from _cells(name, width, now)
        yield from (f"  {'':<{width}}    {line}" for line in textwrap.wrap(meaning, WIDTH - width - 6))


def _cells(name: str, width: int, text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - width - 4) or [""]
    return [f"  {name if not number else '':<{width}}  {line}" for number, line in enumerate(lines)]
