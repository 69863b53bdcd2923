"""MLflow: a folder beside the runs, or a server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lt_bench.errors import SettingError
from lt_bench.locks import Lock
from lt_bench.record.record import RunRecord
from lt_bench.trackers.contract import Epoch, Place, final_values, tags_of, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_ONCE = 100  # parameters that MLflow takes in one call
EPOCHS_AT_ONCE = 40  # of at most 24 values: MLflow takes 1,000 in one call
LONGEST = 500  # characters of a parameter that every version takes
RETRIES = "5"  # about a minute: the usual 7 outlast what a tracker has after a run, and nobody learns what it waits for
EPOCH, KEY = "epoch", "lt_bench.key"


class MLflow:
    """A run of MLflow, the same one whenever it goes on.

    ``folder`` is MLflow's store of files; null: mlflow/ in the folder of all runs. ``server`` is the address of a
    tracking server instead, whose user and password stand in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    ``experiment`` is the name that MLflow lists the runs under.
    """

    package: ClassVar[str] = "mlflow"

    def __init__(
        self, place: Place, *, folder: str | None = None, server: str | None = None, experiment: str = "lt_bench"
    ) -> None:
        self.place, self.step, self.experiment = place, place.step, experiment
        self.folder = place.output_dir / "mlflow" if folder is None else Path(folder).expanduser()
        if server is not None and "://" not in server and not server.startswith("databricks"):
            raise SettingError("server", "an address", server, usual="http://localhost:5000")
        self.server = server

    def start(self, config: Mapping[str, Any], record: RunRecord) -> None:
        """Find the run by its key, or create it; raises what the package raises."""
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # refused by MLflow 3.7 and later otherwise
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=self.server or self.folder.absolute().as_uri())
        experiment = self._experiment_id()
        found = self.client.search_runs([experiment], filter_string=f"tags.`{KEY}` = '{self.place.key}'")
        if found:
            self.run_id, known = found[0].info.run_id, found[0].data.metrics
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            tags = {**tags_of(record), KEY: self.place.key}
            self.run_id, known = (
                self.client.create_run(experiment, tags=tags, run_name=title_of(record)).info.run_id,
                {},
            )
        self.last = int(known.get(EPOCH, -1))  # a process that was killed may not have said that it has this step
        self._parameters(config)

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float], step: int) -> None:
        """Log an epoch under its step, unless it is there."""
        self.several([Epoch(stage, epoch, values, step)])

    def several(self, epochs: Sequence[Epoch]) -> None:
        """Log epochs, whole ones in as few calls as MLflow takes; of each the number of its step comes last."""
        missing = [one for one in epochs if one.step > self.last]
        for start in range(0, len(missing), EPOCHS_AT_ONCE):
            self._metrics(
                (name, value, one.step)
                for one in missing[start : start + EPOCHS_AT_ONCE]
                for name, value in {
                    **{f"{one.stage}/{key}": told for key, told in one.values.items()},
                    EPOCH: one.step,
                }.items()
            )
        self.last = max(self.last, epochs[-1].step)
        self.step = epochs[-1].step + 1

    def figure(self, name: str, figure: Figure) -> None:
        """Keep a figure among the run's artifacts."""
        self.client.log_figure(self.run_id, figure, f"figures/{name}.png")

    def finish(self, record: RunRecord | None) -> None:
        """Log the metrics, one step after the last epoch, and end the run: as KILLED where it was stopped."""
        if record is not None:
            self._metrics((name, value, self.step) for name, value in final_values(record).items())
        self.client.set_terminated(self.run_id, status="KILLED" if record is None else "FINISHED")

    def _experiment_id(self) -> str:
        """The experiment's id; several runs that begin at once create one of its name in a folder."""
        lock = None if self.server else Lock(self.folder.with_name(f"{self.folder.name}.lock"))
        if lock:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(waiting=lambda: None)
        try:
            found = self.client.get_experiment_by_name(self.experiment)
            return str(found.experiment_id if found else self.client.create_experiment(self.experiment))
        finally:
            if lock:
                lock.release()

    def _parameters(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        found = [Param(key, value[:LONGEST]) for key, value in words.items()]
        for start in range(0, len(found), AT_ONCE):
            self.client.log_batch(self.run_id, params=found[start : start + AT_ONCE])

    def _metrics(self, values: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value, step in values])
