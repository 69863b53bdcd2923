"""Weights & Biases: offline in the run folder, or online."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lt_bench.record.record import RunRecord
from lt_bench.trackers.contract import Place, final_values, tags_of, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class WandB:
    """A run of Weights & Biases under the same id whenever it goes on; runs that differ in their seeds are a group.

    ``mode`` offline writes to wandb/ in the run folder alone, for ``wandb sync``; online sends everything while the run
    trains, with the key of ``wandb login`` or WANDB_API_KEY, which no config has. ``project`` and ``entity`` say where
    to; null: the account's own.
    """

    package: ClassVar[str] = "wandb"

    def __init__(
        self,
        place: Place,
        *,
        project: str = "lt_bench",
        entity: str | None = None,
        mode: Literal["offline", "online"] = "offline",
    ) -> None:
        self.place, self.step = place, place.step
        self.project, self.entity, self.mode = project, entity, mode

    def start(self, config: Mapping[str, Any], record: RunRecord) -> None:
        """Begin the run, or go on with it; raises what the package raises."""
        import wandb

        tags = tags_of(record)
        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=str(self.place.folder),
            id=self.place.key,
            resume="allow" if self.mode == "online" else None,  # known to a server alone
            name=title_of(record),
            group=tags["setting"],
            job_type=record.kind,
            config={**config, **tags},
            settings=wandb.Settings(console="off", silent=True),
        )

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float], step: int) -> None:
        """Log an epoch under its step."""
        self.run.log({f"{stage}/{name}": value for name, value in values.items()}, step=step, commit=True)
        self.step = step + 1

    def figure(self, name: str, figure: Figure) -> None:
        """Log a figure as an image, one step after the last epoch."""
        import wandb
        from PIL import Image

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        with Image.open(buffer) as image:
            self.run.log({f"figures/{name}": wandb.Image(image)}, step=self.step)

    def finish(self, record: RunRecord | None) -> None:
        """Put the metrics into the run's summary and end it: as failed where it was stopped."""
        import wandb

        if record is not None:
            self.run.summary.update(final_values(record))
        self.run.finish(exit_code=1 if record is None else 0)
        wandb.teardown()
