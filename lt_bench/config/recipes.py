"""Which recipe stands for a method on a data set, and what the short names of methods stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from lt_bench.config.conf import is_file, is_own, names_in, text_of
from lt_bench.config.own_files import cached
from lt_bench.errors import UsageError

# Data sets of files for which a method has no recipe take the one it has for this data set, also of 224 pixels.
LARGE_IMAGES = "imagenet_lt"
# Groups of components that methods take, in the order in which they add to a method's name; a component has recipes and
# quirks of its own, in folders of its group. What a method may have beside its loss, with the methods that take it
COMPONENTS = {
    "harmonization": "methods that learn without labels",
    "mixing": "methods with labels whose loss is a mean over images",
    "experts": "methods with labels whose loss is a mean over images",
}
# Groups of which a run has any number of choices at once, as a list.
LISTS = ("tracker",)
NONE = "none"
PLAIN = "plain"  # the variant whose recipes have no name of a variant behind them


class TakenFrom(NamedTuple):
    """A line of conf/recipes.yaml: the recipe that another one is taken from, and why."""

    recipe: str
    why: str


@cached
def taken_from() -> dict[str, TakenFrom]:
    """The recipes without a file of their own, by name; raises UsageError for a line that is none of them."""
    text = text_of("recipes")
    found: dict[str, TakenFrom] = {}
    for line in re.findall(r"^\w.*(?:\n  # .+)*", text, re.MULTILINE):
        read = re.fullmatch(r"(\w+): +([\w/]+) +# *(.+)", line.replace("\n  #", ""))
        if not read or read[1] in found or read[1] in names_in("recipe"):
            raise UsageError(f"conf/recipes.yaml: {line!r} is not a new name, a recipe and why: NAME: RECIPE  # why")
        if not is_file(f"recipe/{read[2]}"):
            raise UsageError(f"conf/recipes.yaml: {read[1]}: there is no conf/recipe/{read[2]}.yaml")
        found[read[1]] = TakenFrom(read[2], read[3])
    return found


@cached
def short_for(method: str) -> dict[str, str]:
    """The choices, by group, that a method's file stands for if it is no more than a short name; else nothing."""
    text = text_of(f"method/{method}") if is_file(f"method/{method}") else ""
    found = re.search(r"^short_for: *\{(.+)\} *(?:#.*)?$", text, re.MULTILINE)
    return dict(re.findall(r"(\w+): (\w+)", found[1])) if found else {}


def spelled_out(chosen: Mapping[str, str]) -> dict[str, str]:
    """The choices of groups with those that the method's short name stands for; what is chosen itself beats these."""
    meant = short_for(chosen.get("method", ""))
    return {**chosen, **meant, **{group: chosen[group] for group in meant if group != "method" and group in chosen}}


def bare(method: Mapping[str, Any]) -> str:
    """The name of a method without what its components add to it: simclr of simclr_gh."""
    name = str(method.get("name"))
    for group in reversed(COMPONENTS) if name not in names_in("method") or short_for(name) else ():
        for component in names_in(group) if method.get(group) else ():
            name = name.removesuffix(f"_{component}")
    return name


def of_variant(recipe: str, variants: Iterable[str]) -> str:
    """The variant that a recipe's name ends with; else the plain one."""
    return next((variant for variant in variants if recipe.endswith(f"_{variant}")), PLAIN)


def recipe_names(methods: Iterable[str], datasets: Iterable[str]) -> list[str]:
    """Every name that recipe= takes: files, lines of conf/recipes.yaml, and what short names of methods take."""
    plain = {*names_in("recipe"), *taken_from()}
    short = [f"{method}_{dataset}" for method in methods if short_for(method) for dataset in datasets]
    return sorted(plain | {name for name in short if parts_of(name)["recipe"] in plain})


def recipe_files(chosen: Mapping[str, str], known: Collection[str], of_files: Callable[[], bool]) -> dict[str, str]:
    """The files of recipes for the choices of a run, by group.

    ``known`` are all names of recipes; ``of_files`` says, where it is asked, whether the data set is one of files. A
    recipe of the user's own is picked for a choice of the user's own alone; otherwise it is typed.
    Raises UsageError for a variant that has no recipe, and for one beside another recipe.
    """
    method, dataset, variant = chosen["method"], chosen["dataset"], chosen.get("variant", PLAIN)
    own = any(is_own(f"{group}/{chosen[group]}") for group in ("method", "dataset", *COMPONENTS))

    def of(group: str, names: Collection[str]) -> Collection[str]:
        return names if own else [name for name in names if not is_own(f"{group}/{name}")]

    if "recipe" in chosen:
        if variant not in (PLAIN, of_variant(chosen["recipe"], [variant])):
            raise UsageError(f"recipe={chosen['recipe']} is none of variant={variant}; take one of the two away")
        found = parts_of(chosen["recipe"])
    else:
        found = {"recipe": _first([method], dataset, of("recipe", known), of_files, variant)}
        if variant != PLAIN and found["recipe"] == NONE:
            raise UsageError(_no_variant(method, dataset, variant, known))
        for group in COMPONENTS:
            names = [f"{method}_{chosen[group]}", chosen[group]]
            recipes = of(f"{group}/recipe", names_in(f"{group}/recipe"))
            found[f"{group}/recipe"] = _first(names, dataset, recipes, of_files)
    if found["recipe"] in taken_from():
        found["recipe"] = taken_from()[found["recipe"]].recipe
    return found


def parts_of(recipe: str) -> dict[str, str]:
    """The recipes, by group, that a name stands for: simclr_gh_digits_lt is that of SimCLR and that of GH."""
    found = {"recipe": recipe, **{f"{group}/recipe": NONE for group in COMPONENTS}}
    for group in COMPONENTS if recipe not in {*names_in("recipe"), *taken_from()} else ():
        for component in names_in(group):
            method, between, dataset = recipe.partition(f"_{component}_")
            if between:
                names = [f"{method}_{component}", component]
                own = _first(names, dataset, names_in(f"{group}/recipe"), lambda: False)
                if own != NONE:
                    found |= {"recipe": f"{method}_{dataset}", f"{group}/recipe": own}
    return found


def _first(
    names: Iterable[str], dataset: str, known: Collection[str], of_files: Callable[[], bool], variant: str = PLAIN
) -> str:
    """The recipe of the first of some names that has one for a data set, else for large images if it is of files."""
    ending = "" if variant == PLAIN else f"_{variant}"
    for data in (dataset, LARGE_IMAGES):
        there = [f"{name}_{data}{ending}" for name in names if f"{name}_{data}{ending}" in known]
        if there and (data == dataset or of_files()):
            return there[0]
    return NONE


def _no_variant(method: str, dataset: str, variant: str, known: Collection[str]) -> str:
    """What to say where a method has no recipe of a variant for a data set."""
    there = [name.removesuffix(f"_{variant}") for name in sorted(known) if of_variant(name, [variant]) == variant]
    return (
        f"variant={variant}: there is no such recipe of method={method} for dataset={dataset}, only for "
        f"{', '.join(there) or 'nothing'}; set variant={PLAIN}"
    )
