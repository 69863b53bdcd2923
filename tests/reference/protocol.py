"""The page of the protocol: every data set, how its tail is cut, and which classes are many, medium and few."""

from __future__ import annotations

from lt_bench.config.compose import about, compose, groups
from lt_bench.config.conf import text_of
from lt_bench.config.signatures import docstrings
from lt_bench.evaluation.shots import RULES

from .markdown import block, code, page, prose, table

CUT = "lt_bench.data.splits.imbalance"


def protocol_page() -> str:
    """What all methods have in common on a data set."""
    names = groups()["dataset"]
    return page(
        "# Protocol",
        "What all methods share on a data set, so that their figures can be compared: which images they train on, on "
        "which they are tested, and how accuracies are summed up. The published test sets have equally many images of "
        "every class, so that a method that knows the large classes alone scores badly; where a set of your own has "
        "not, the metric `macro` is the mean over classes.",
        "## How the tail is cut",
        "A data set of equally large classes gets a long tail by `imbalance=`; `split_seed` chooses the images.",
        *(f"**`{CUT}.{name}`**\n\n{prose(docstrings(f'{CUT}.{name}')[0])}" for name in ("class_counts", "select")),
        "## Groups of classes",
        "Tables show the mean accuracy of the classes with many, a medium number of, and few training images.",
        table(
            ["`dataset.group_rule=`", "groups"], [[code(name), prose(one.description)] for name, one in RULES.items()]
        ),
        prose(docstrings("lt_bench.evaluation.shots.shot_groups")[0]),
        "## Data sets",
        table(["`dataset=`", "classes", "pixels", "network", "imbalance", "groups"], map(_row, names)),
        *(part for name in names for part in _file(name)),
    )


def _row(name: str) -> list[str]:
    config = compose([f"dataset={name}", "method=ce", "recipe=none"])
    factor = "native" if config.imbalance.factor is None else f"{config.imbalance.factor:g}"
    classes = "as in the list" if config.dataset.num_classes is None else str(config.dataset.num_classes)
    values = [classes, str(config.dataset.image_size), config.backbone.name, factor, config.dataset.group_rule]
    return [f"[{name}](#{name})", *map(prose, values)]


def _file(name: str) -> list[str]:
    return [f"### {name}", prose(about("dataset", name)) + ".", block(text_of(f"dataset/{name}"), "yaml")]
