"""What a tracker is: a class that shows what a run measures, and what all trackers say of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from lt_bench.record.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Place(NamedTuple):
    """Where a tracker works: the run folder, and the folder of all runs.

    ``key`` is a random word, the same whenever this run goes on: what the tracker has of the run is known by it. It
    has all steps before ``step``.
    """

    folder: Path
    output_dir: Path
    key: str
    step: int


class Epoch(NamedTuple):
    """What an epoch came to, as ``Tracker.scalars`` is told."""

    stage: str
    epoch: int
    values: Mapping[str, float]
    step: int


class Tracker(Protocol):
    """Shows a run elsewhere; made as ``Class(place, **settings)``, in a process of its own that computes nothing else.

    ``package`` is what has to be installed for it, read without importing anything. Whatever it raises, in whichever
    call, drops it and nothing else; a call may take long. Calls come in the order in which they stand here, and the
    end may be missing where a process is killed. A class may have ``several(epochs)``, which is told all epochs that
    wait, a sequence of ``Epoch``, in place of ``scalars``: where a call takes longer than an epoch, they pile up.
    """

    package: ClassVar[str | None] = None

    def start(self, config: Mapping[str, Any], record: RunRecord) -> None:
        """Begin, or go on with, the run of ``place.key``.

        ``config`` has the settings that decide the result by their dotted keys, ``record`` what is known of the run so
        far: it has no metrics.
        """

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float], step: int) -> None:
        """What an epoch (from 0) of a stage (stage_one, stage_two) came to; ``step`` counts on through both stages.

        ``values`` are the means of the method's terms, ``lr`` of the last step, ``seconds``, ``images_per_second`` and,
        where the epoch is chosen by it, ``selection_score``. Every step comes once, also where a run was killed.
        """

    def figure(self, name: str, figure: Figure) -> None:
        """A figure of the finished run, to be copied or written before this returns."""

    def finish(self, record: RunRecord | None) -> None:
        """End with the run's record and its metrics; None where the run was stopped and may go on later."""


def title_of(record: RunRecord) -> str:
    """A short title of a run, as a person would write it."""
    factor = "native" if record.imbalance_factor is None else f"IF {record.imbalance_factor:g}"
    splits = f", split seed {record.split_seed}" if record.split_seed else ""
    rule = "stage one" if record.stage_one_id is None else record.stage_two_name
    return f"{record.method_name} / {rule}, {record.dataset} {factor}, seed {record.seed}{splits}"


def tags_of(record: RunRecord) -> dict[str, str]:
    """What runs are found and grouped by: runs of one setting differ in their seeds alone."""
    found = {
        "run": record.run_id,
        "stage one": record.stage_one_id or record.run_id,
        "setting": record.setting_id,
        "method": record.method,
        "dataset": record.dataset,
        "stage two": record.stage_two,
    }
    return {key.replace(" ", "_"): value for key, value in found.items()}


def final_values(record: RunRecord) -> dict[str, float]:
    """The metrics of a finished run that are numbers, by group and over all, and its cost."""
    parts = {record.evaluated_on: record.metrics, "cost": record.cost}
    return {
        f"{part}/{name}": float(value)
        for part, values in parts.items()
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
