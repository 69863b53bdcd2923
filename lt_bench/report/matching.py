"""Which published results stand beside a row: those of what its runs are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain

from lt_bench.config.components import PARTS, made_of
from lt_bench.config.recipes import short_for
from lt_bench.errors import UsageError
from lt_bench.published.entries import Published, by_id
from lt_bench.published.reproduces import reproduced
from lt_bench.report.protocol import settings_of, value_in
from lt_bench.report.sections import Row, Section

OURS = "lt_bench."  # where the classes come from that published results are of
PROFILES = ("exponential", "native")  # those of published lists; results on others are no results of these
ASKED = ("method", "dataset", "imbalance", "stage_two", "backbone")  # of --where, which entries have as runs have


@cache
def meant(method: str, dataset: str, part: str | None = None) -> tuple[Published, ...]:
    """The published results that runs of a method with a component, or with none, on a data set may stand beside.

    Without one they are those that conf/reproduces.yaml names for the method's recipes or an experiment with it, less
    variants; with one they are those of which it is the variant.
    """
    known = [one for one in by_id().values() if (_plain(one), one.dataset) == ((method, part), dataset)]
    if part is not None:
        return tuple(known)
    recipes = (listed for name, listed in reproduced("recipe").items() if name.startswith(f"{method}_{dataset}"))
    named = {*chain(*recipes), *chain(*reproduced("experiment").values())}
    return tuple(one for one in known if one in named)


def beside(section: Section, row: Row) -> list[Published]:
    """The published results of what a row's runs are: same method, component, data set, imbalance, rule and shots.

    They are those of ``meant``, less other test distributions; a stage two that the source does not say contradicts
    none. Other epochs, networks, selections and recipes do not part them: these are said as differences. A class of
    one's own has no published results, and neither has a method with several components, or without one of its own.
    """
    first, settings = row.runs.iloc[0], settings_of(row)
    classes = (settings.get(f"{node}._target_") for node in ("method", "dataset"))
    if not all(str(one).startswith(OURS) for one in classes) or section.fields["imbalance_profile"] not in PROFILES:
        return []
    imbalance, rule = section.fields["imbalance"], first["stage_two"]
    shots = value_in(settings, "stage_two", "shots")
    made = made_of(str(first["method"]), str(first["method_name"]), section.fields["dataset"], settings)
    parts = [choice for group, choice in made.items() if group in PARTS]
    return [
        one
        for one in meant(made["method"], section.fields["dataset"], "_".join(parts) or None)
        if (one.test_distribution, one.imbalance, one.shots) == (None, imbalance, shots)
        and one.stage_two in (None, rule)
    ]


def _plain(entry: Published) -> tuple[str, str | None]:
    """The method of a published result without its components, and these or what else is its variant."""
    named = short_for(entry.method)
    parts = [choice for group, choice in named.items() if group in PARTS]
    return named.get("method", entry.method), "_".join([*parts, *filter(None, [entry.variant])]) or None


def asked_for(words: Sequence[str]) -> list[Published]:
    """The published results for which every ``key=value`` of ``--where`` holds that results have keys for."""
    found = [*by_id().values()]
    for text in words:
        key, _, values = text.partition("=")
        if key in ASKED:
            wanted = {values, *values.split(",")}
            found = [one for one in found if _spelt(one, key) & wanted]
    return found


def about_published(words: Sequence[str]) -> bool:
    """Whether the words of ``--where`` choose published results although no run is theirs; UsageError for no words."""
    if wrong := [text for text in words if "=" not in text]:
        raise UsageError(f"--where {wrong[0]}: write KEY=VALUE, such as dataset=cifar100_lt")
    return all(text.partition("=")[0] in ASKED for text in words) and bool(asked_for(words))


def _spelt(entry: Published, key: str) -> set[str]:
    if key == "method":  # of a run with a component: ce_cmo
        return {entry.method, "_".join(filter(None, _plain(entry)))}
    value = getattr(entry, key)
    return {value, value.removeprefix("if")} if value is not None else set()
