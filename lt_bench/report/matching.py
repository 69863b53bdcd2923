"""Which published results stand beside a row: those that conf/reproduces.yaml names for what its runs are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain

from lt_bench.errors import UsageError
from lt_bench.published.entries import Published, by_id
from lt_bench.published.reproduces import reproduced
from lt_bench.report.protocol import settings_of, value_in
from lt_bench.report.sections import Row, Section

OURS = "lt_bench."  # where the classes come from that published results are of
PROFILES = ("exponential", "native")  # those of published lists; results on others are no results of these
ASKED = ("method", "dataset", "imbalance", "stage_two", "backbone")  # of --where, which entries have as runs have


@cache
def meant(method: str, dataset: str) -> tuple[Published, ...]:
    """The published results that a method's recipe for a data set, or an experiment with it, is meant to reproduce."""
    listed = [*reproduced("recipe").get(f"{method}_{dataset}", ()), *chain(*reproduced("experiment").values())]
    return tuple(dict.fromkeys(one for one in listed if (one.method, one.dataset) == (method, dataset)))


def beside(section: Section, row: Row) -> list[Published]:
    """The published results of what a row's runs are: same method, data set, imbalance, stage two and labelled shots.

    They are those that conf/reproduces.yaml names for the method's recipe or an experiment with it, less variants and
    other test distributions; a stage two that the source does not say contradicts none. Other epochs, networks and
    selections do not part them: these are said as differences. A class of one's own has no published results.
    """
    first, settings = row.runs.iloc[0], settings_of(row)
    classes = (settings.get(f"{node}._target_") for node in ("method", "dataset"))
    if not all(str(one).startswith(OURS) for one in classes) or section.fields["imbalance_profile"] not in PROFILES:
        return []
    imbalance, rule = section.fields["imbalance"], first["stage_two"]
    shots = value_in(settings, "stage_two", "shots")
    return [
        one
        for one in meant(str(first["method"]), section.fields["dataset"])
        if (one.variant, one.test_distribution, one.imbalance, one.shots) == (None, None, imbalance, shots)
        and one.stage_two in (None, rule)
    ]


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
    value = getattr(entry, key)
    return {value, value.removeprefix("if")} if value is not None else set()
