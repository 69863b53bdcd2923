"""Strong baselines: CE and Balanced Softmax with the augmentation and the weight decay of every method of a table."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lt_bench.config.components import part_of
from lt_bench.config.compose import groups
from lt_bench.config.recipes import NONE
from lt_bench.errors import UsageError
from lt_bench.evaluation.ranks import some
from lt_bench.record.conditions import GROUPS, conditions_of, shortened, word
from lt_bench.record.identity import CONTENT
from lt_bench.record.record import RunRecord
from lt_bench.report.protocol import learns_without_labels, settings_of, views
from lt_bench.report.sections import BASELINES, Row, Section
from lt_bench.report.selection import FIELDS, selected
from lt_bench.report.typed import DATA, network, own_settings

JUDGED = ("evaluation.", "stage_two.shots")
DECAY = "train.optimizer.weight_decay"
TASK = "dataset.task"  # a setting of runs that do not classify images, as the baselines do
# of --where: what says on which images, with which network and how a run is judged, and not what is run
ABOUT = tuple(key for key in FIELDS if key not in ("method", "stage_two", "run_id", "setting_id"))


class Footing(NamedTuple):
    """What a comparison with a baseline needs to be fair: view of a classifier, weight decay, choice of finetune=."""

    view: str
    decay: float
    tuning: str


def footing(settings: dict[str, Any]) -> Footing | None:
    """The footing of a run's settings; None where nobody says which views its method sees.

    A method that learns without labels has none either: its classifier is fitted later, on an encoder that the views
    and the decay of a contrastive loss made, and a classifier trained on labels with these is no baseline of it. Nor
    has a run of another task than the baselines'.
    """
    seen, decay = views(settings), settings.get(DECAY, 0.0)
    if not seen or not isinstance(decay, (int, float)) or learns_without_labels(settings) or TASK in settings:
        return None
    return Footing(seen[0], float(decay), part_of(settings, "finetune"))


def with_baselines(chosen: Sequence[RunRecord], records: Sequence[RunRecord], words: Sequence[str]) -> list[RunRecord]:
    """The chosen records and, of the others, the baselines on the same footing and under the same conditions.

    ``words`` are those of ``--where``: what they say of images, networks and seeds holds for baselines too, and so does
    a setting such as ``train.lr=0.1`` for a baseline of which a run has it.
    """
    if not chosen:
        return []
    about = [text for text in words if _is_about(text.partition("=")[0])]
    settings = [text for text in words if text not in about and text.partition("=")[0] not in FIELDS]
    there = {one.run_id for one in chosen}
    further = [one for one in selected(records, about) if one.method in BASELINES and one.run_id not in there]
    if not further:
        return [*chosen]
    asked = {(*_place(one), own) for one in chosen if (own := footing(one.settings))}
    fair = [one for one in further if (*_place(one), footing(one.settings)) in asked]
    return [*chosen, *(one for name in BASELINES for one in _with(settings, [a for a in fair if a.method == name]))]


def _with(words: Sequence[str], records: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The records with some settings; all where none has them."""
    try:
        return selected(records, words)
    except UsageError:
        return records


def without_baselines(section: Section) -> list[str]:
    """A line for every footing of a section's methods that lacks a baseline, with the command that makes it."""
    if section.fields["budget"] == "smoke":
        return []
    found: dict[Footing, list[Row]] = {}
    for row in section.rows:
        if (own := footing(settings_of(row))) is not None:
            found.setdefault(own, []).append(row)
    return [line for own, rows in found.items() for line in _lacking(section, own, rows)]


def _lacking(section: Section, own: Footing, rows: list[Row]) -> Iterator[str]:
    methods = {str(row.runs["method"].iat[0]) for row in rows}
    lacking = [name for name in BASELINES if name not in methods]
    if lacking and methods - {*BASELINES}:
        others = (row for row in rows if row.runs["method"].iat[0] not in BASELINES)
        of = some([*dict.fromkeys(shortened(row.fields["method_name"]) for row in others)])
        titles = " and ".join(BASELINES[name] for name in lacking)
        yield (
            f"No {titles} with the view {word(own.view)} and the weight decay {own.decay:g}"
            f"{f' and finetune={own.tuning}' * (own.tuning != NONE)} of {of}; to make them: "
            f"{_command(section, own, rows, lacking)}"
        )


def _command(section: Section, own: Footing, rows: list[Row], lacking: Iterable[str]) -> str:
    """The sweep that makes some baselines, on the images, the network and the seeds of some rows."""
    fields = section.fields
    chosen = {
        "stage_two": rows[0].runs["stage_two"].iat[0] if fields["probe"] else "none",
        "dataset": fields["dataset"],
        **network(fields["backbone"], settings_of(rows[0]).get("backbone.model")),
        "budget": fields["budget"],
        **({"finetune": own.tuning} if own.tuning != NONE else {}),
    }
    unknown = [f"{key}={name}" for key, name in chosen.items() if key in groups() and name not in groups()[key]]
    if unknown:
        return f"a sweep over method={','.join(lacking)} with your {' and '.join(unknown)}"
    typed = {key: value for row in rows for key, value in own_settings(row, DATA)} | _judged(rows)
    seeds = {name: sorted({int(seed) for row in rows for seed in row.runs[name]}) for name in ("seed", "split_seed")}
    words = [
        *(f"method={','.join(lacking)}", *(f"{group}={name}" for group, name in chosen.items())),
        *_imbalance(fields),
        *(f"{key}={json.dumps(value)}" for key, value in typed.items() if not _of_files(key)),
        *(f"method.views=[{own.view}]", f"{DECAY}={own.decay:g}"),
        *(f"{name}={','.join(map(str, values))}" for name, values in seeds.items() if values != [0]),
    ]
    files = " and where your files are" * any(map(_of_files, typed))
    return f"python -m lt_bench -m {' '.join(map(shlex.quote, words))}{files}"


def _imbalance(fields: dict[str, Any]) -> list[str]:
    named = fields["imbalance"]
    words = [f"imbalance={named}" if named in groups()["imbalance"] else f"imbalance.factor={named.removeprefix('if')}"]
    usual = fields["imbalance_profile"] in ("exponential", "native")
    return words if usual else [*words, f"imbalance.profile={fields['imbalance_profile']}"]


def _judged(rows: list[Row]) -> dict[str, Any]:
    """How the runs of rows are judged, where that is not as usual, and by probes of how many labels."""
    every = [settings_of(row).items() for row in rows]
    return {key: value for items in every for key, value in items if key.startswith(JUDGED)}


def _of_files(key: str) -> bool:
    """Whether a setting says which files there are, and is not typed as it stands in a record."""
    return key == "dataset.split_dir" or key.startswith(CONTENT)


def _is_about(key: str) -> bool:
    return key in ABOUT or key.partition(".")[0] in GROUPS


def _place(record: RunRecord) -> tuple[Any, ...]:
    """What runs of one table have in common."""
    measured = conditions_of(record.settings)
    alike = (record.dataset, record.imbalance_factor, record.imbalance_profile, record.backbone, record.budget)
    return (*alike, record.is_probe, record.evaluated_on, measured)
