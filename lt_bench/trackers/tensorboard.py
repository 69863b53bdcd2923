"""TensorBoard: event files in the run folder."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lt_bench.record.record import RunRecord
from lt_bench.trackers.contract import Place, final_values, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TensorBoard:
    """Event files for TensorBoard: scalars, the config as a table and as hyperparameters, figures.

    ``folder`` is where a folder for each run is made; null: event files are in tensorboard/ of the run folder. A run
    that goes on marks what comes after its last complete epoch as void, which TensorBoard then leaves out (what
    torch.utils.tensorboard calls purge_step).
    """

    package: ClassVar[str] = "tensorboard"

    def __init__(self, place: Place, *, folder: str | None = None) -> None:
        self.place, self.step = place, place.step
        own = place.folder / "tensorboard"
        self.path = own if folder is None else Path(folder).expanduser() / place.folder.name

    def start(self, config: Mapping[str, Any], record: RunRecord) -> None:
        """Open a new event file; raises OSError where there can be none."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.writer = EventFileWriter(str(self.path))
        self._add(session_log=SessionLog(status=SessionLog.START))
        if not self.step:
            lines = [title_of(record), "", "| key | value |", "|---|---|"]
            lines += [f"| {key} | {json.dumps(value)} |" for key, value in config.items()]
            self._text("config", "\n".join(lines))
            words = {
                key: value if isinstance(value, (bool, int, float)) else str(value) for key, value in config.items()
            }
            self._add(summary=hparams_pb(words, trial_id=self.place.key))
        self.writer.flush()

    def scalars(self, stage: str, epoch: int, values: Mapping[str, float], step: int) -> None:
        """Write an epoch; it is in the file when this returns."""
        self._numbers({f"{stage}/{name}": value for name, value in values.items()}, step)
        self.step = step + 1

    def figure(self, name: str, figure: Figure) -> None:
        """Write a figure as an image."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        width, height = figure.canvas.get_width_height()
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=buffer.getvalue())
        self._add(summary=Summary(value=[Summary.Value(tag=f"figures/{name}", image=image)]))

    def finish(self, record: RunRecord | None) -> None:
        """Write the metrics, one step after the last epoch, and close the file."""
        if record is not None:
            self._numbers(final_values(record), self.step)
        self.writer.close()

    def _numbers(self, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(step, summary=Summary(value=found))
        self.writer.flush()

    def _text(self, tag: str, text: str) -> None:
        """A text in Markdown, laid out as TensorBoard's plugin for texts reads it."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._add(summary=Summary(value=[Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)]))

    def _add(self, step: int | None = None, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        at = self.step if step is None else step
        self.writer.add_event(Event(step=at, wall_time=time.time(), **content))
