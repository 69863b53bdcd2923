"""The page of a method: what it computes, its settings, recipes with their sources, quirks and published figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omegaconf import DictConfig, OmegaConf

from lt_bench.cli.explain import said_of
from lt_bench.config.annotations import wanted
from lt_bench.config.compose import about, compose, groups, shown
from lt_bench.config.conf import is_file, names_in, text_of
from lt_bench.config.recipes import COMPONENTS, NONE, parts_of, short_for, taken_from
from lt_bench.config.signatures import (
    OPAQUE,
    TargetError,
    class_attribute,
    defined_in,
    docstrings,
    imported_by,
    parameters,
)
from lt_bench.published.entries import Published, of_method
from lt_bench.report.methods import address, cell, paper

from .equations import equations_of
from .markdown import block, code, page, prose, table
from .views import sees

UNSAID = "a parameter of "  # what is said of a parameter that no docstring names
COLUMNS = (
    "data set",
    "imbalance",
    "network",
    "epochs",
    "stage two",
    "all",
    "many",
    "medium",
    "few",
    "run by",
    "source",
)
FIELDS = ("dataset", "imbalance", "backbone", "epochs", "stage_two", "all", "many", "medium", "few")


def pages() -> dict[str, str]:
    """The page of every method, by its path below docs/."""
    return {f"methods/{name}.md": method_page(name) for name in groups()["method"]}


def _paper(name: str) -> str:
    """The paper of a method, with its address where it is known."""
    return f"[{paper(name)}]({where})" if (where := address(name)) else paper(name)


def method_page(name: str) -> str:
    """Everything that the repository says of a method."""
    config = compose([f"method={name}", "recipe=none"])
    method, rule = config.method, config.stage_two
    short, said = short_for(name), about("method", name)
    network = " backbone=clip_vit_b16" if method.get("finetune") else ""  # modules for a pretrained transformer
    scenes = class_attribute(method._target_, "task", "") == "segmentation"
    data = "digit_scenes" if scenes else "cifar100_lt imbalance=if100"
    seen = f"{name} dataset={data}" if scenes else name
    views = f"\n    python -m lt_bench.data browse method={seen}    # what it sees of an image, as a sheet of its views"
    rules = {"stage_two": rule} if rule.name == name else {}  # one of that name is a part of it
    own = {"method": method, **rules}
    nodes = [method, *(method[group] for group in COMPONENTS if method.get(group)), *rules.values()]
    return page(
        f"# {method.title}",
        f"`method={name}` · {_paper(name)} · [all methods](../methods.md)",
        f"{prose(said[:1].upper() + said[1:])}.",
        f"    python -m lt_bench method={name} dataset={data}{network}{views}",
        f"It stands for {code(' '.join(f'{group}={choice}' for group, choice in short.items()))}." if short else "",
        "## What it computes",
        "Small numbers that authors' code adds to shares and sums are left out of equations.",
        *_computes(node._target_ for node in nodes),
        "## What it sees",
        *sees(name),
        "## Settings",
        *(part for one in own.items() for key, node in _nodes(*one) for part in _settings(key, node)),
        *([] if short else _sources(name, own)),
        "## Recipes",
        f"All values of a run: `python -m lt_bench method={name} dataset=NAME --cfg job --resolve`.",
        *_recipes(name),
        "## `fidelity=official`",
        *_quirks(name, short),
        "## Published figures",
        *_published(name),
    )


def _computes(targets: Iterable[str]) -> Iterator[str]:
    """Each class's own words and equations, and the losses that its module, or else those that it builds on, take."""
    told = set[str]()
    for target in targets:
        yield f"**`{target}`**"
        yield prose(docstrings(target)[0])
        yield from equations_of(target)
        for loss in _losses(defined_in(target)):
            if loss not in told:
                told.add(loss)
                yield f"**`{loss}`**"
                yield prose(docstrings(loss)[0])


def _sources(name: str, parts: Iterable[str]) -> Iterator[str]:
    """The file of a method, and that of the stage-two rule of its name where this is a part of it."""
    yield "The file of the method, with the source of each value:"
    for group in parts:
        yield "That of its stage two:" if group == "stage_two" else ""
        yield block(text_of(f"{group}/{name}"), "yaml")


def _losses(module: str) -> list[str]:
    """The documented functions and classes of lt_bench.losses that a module of a method imports."""
    named = imported_by(module)
    found = [name for name in sorted(named) if name.startswith("lt_bench.losses.") and _says(name)]
    return found or [loss for one in sorted(named) if _is_method(one) for loss in _losses(one.rpartition(".")[0])]


def _is_method(name: str) -> bool:
    return name.startswith("lt_bench.methods.") and name.rpartition(".")[2][:1].isupper()


def _says(name: str) -> bool:
    try:
        return bool(docstrings(name))
    except TargetError:
        return False  # a module


def _nodes(key: str, node: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """A node and those below it that name a class, with their keys."""
    yield key, node
    for name, below in node.items():
        if isinstance(below, DictConfig) and "_target_" in below:
            yield from _nodes(f"{key}.{name}", below)


def _settings(key: str, node: DictConfig) -> Iterator[str]:
    """A table of the parameters of a node's class, with their values where no recipe says otherwise."""
    rows = [
        [code(f"{key}.{name}"), _value(f"{key}.{name}", node, one.default), wanted(one.annotation), _said(name, node)]
        for name, one in parameters(node._target_).items()
    ]
    if rows:
        yield table(["key", "value", "takes", "meaning"], rows)


def _value(key: str, node: DictConfig, default: object) -> str:
    name = key.rpartition(".")[2]
    value = OmegaConf.select(node, name) if name in node else default
    if isinstance(value, DictConfig):
        return f"see {code(f'{key}.*')}"
    values = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return "an expression" if value is OPAQUE else code(shown(values))


def _said(name: str, node: DictConfig) -> str:
    said = said_of(name, node._target_)
    return "" if said.startswith(UNSAID) else prose(said)


def _recipes(method: str) -> Iterator[str]:
    """A row for every data set with a recipe, and the files of those that have one."""
    endings = ["", *(f"_{name}" for name in names_in("variant"))]
    known = [(data, f"{method}_{data}{ending}") for data in groups()["dataset"] for ending in endings]
    found = [(data, name) for data, name in known if name in groups()["recipe"]]
    yield table(
        ["data set", "recipe", "values", "where they come from"],
        [[code(f"dataset={data}"), code(name), cell(method, data).split()[0], _whence(name)] for data, name in found],
    )
    for _, name in found:
        for file in _files(name):
            yield f"`conf/{file}.yaml`:"
            yield block(text_of(file), "yaml")


def _whence(recipe: str) -> str:
    """Where the values of a recipe come from, and of which other one it is the same."""
    if recipe not in taken_from():
        return prose(about("recipe", recipe))
    same, why = taken_from()[recipe]
    return f"the method's own: {prose(why)}" if same == NONE else f"those of {code(same)}: {prose(why)}"


def _files(recipe: str) -> list[str]:
    """The files of a recipe; none for one that is another's."""
    found = {} if recipe in taken_from() else parts_of(recipe)
    return [f"{group}/{name}" for group, name in found.items() if name != NONE and is_file(f"{group}/{name}")]


def _quirks(method: str, short: dict[str, str]) -> Iterator[str]:
    """What the authors' code does otherwise, of the method and of a component that a short name brings."""
    names = [f"quirks/{short.get('method', method)}_official"]
    names += [f"{group}/quirks/{choice}_official" for group, choice in short.items() if group != "method"]
    files = [name for name in names if is_file(name)]
    if not files:
        yield "It is refused: no setting brings back what the authors' code does otherwise; deviations are named above."
    for name in files:
        yield f"`conf/{name}.yaml`:"
        yield block(text_of(name), "yaml")


def _published(method: str) -> Iterator[str]:
    entries = of_method(method)
    if not entries:
        yield "`results/published` has none."
        return
    yield "From `results/published`, in percent. A run beside them: [published](../published.md)."
    yield table(["label", *COLUMNS], map(_entry, entries))


def _entry(one: Published) -> list[str]:
    shots = one.shots and f"{one.shots} shots"
    more = ", ".join(filter(None, [one.variant, one.test_distribution and f"test set {one.test_distribution}", shots]))
    label = f"{one.label} ({more})" if more else one.label
    values = [label, *(getattr(one, name) for name in FIELDS)]
    told = ["–" if value is None else str(value) for value in values]
    return [*map(prose, told), prose(one.run_by.replace("_", " ")), prose(f"{one.source}, {one.where}")]
