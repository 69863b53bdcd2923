"""Tables of cost: seconds, images per second, memory and hours on GPUs of every row."""

from __future__ import annotations

import pandas as pd

from lt_bench.report.sections import Row, Section
from lt_bench.report.tables import Table, contributions, leading, number, title

UNKNOWN = "–"  # a device that a record does not name
EXPLAINED = (
    "Cost of a run, mean over n runs: seconds of stage one, which several runs may share, and of the rest, images of "
    "stage one or of a run without one per second, the most memory of a process, and hours on all GPUs of both stages. "
    "Different machines are not comparable."
)


def cost_table(section: Section) -> Table:
    """What each row of a section cost, by device; a dash stands for what its records do not have."""
    cells, values = [], []
    for row in section.rows:
        for device, runs in row.runs.groupby("device", dropna=False):
            name = UNKNOWN if pd.isna(device) else str(device)
            costs = _costs(runs, name)
            shown = {
                "device": name,
                "stage one, s": number(costs["stage_one_seconds"], ",.1f"),
                "rest, s": number(costs["seconds"], ",.1f"),
                "images/s": number(costs["images_per_second"], ",.0f"),
                "memory, MiB": number(costs["peak_memory_mb"], ",.0f"),
                "GPU hours": number(costs["gpu_hours"], ".2f"),
                "n": str(len(runs)),
            }
            cells.append({**leading(section, row), **shown})
            values.append(_row(row, name, costs, runs))
    caption = [f"{title(section)} {EXPLAINED}", *contributions(section.rows)]
    return Table(f"{section.name}_cost", caption, pd.DataFrame(cells), pd.DataFrame(values))


def _costs(runs: pd.DataFrame, device: str) -> dict[str, float]:
    known = {key: pd.to_numeric(runs[key], errors="coerce").mean() for key in ("images_per_second", "peak_memory_mb")}
    seconds = pd.to_numeric(runs["seconds"], errors="coerce")
    before = pd.to_numeric(runs["stage_one_seconds"], errors="coerce").fillna(0.0)
    gpus = pd.to_numeric(runs["processes"], errors="coerce").fillna(1) * (device != "cpu")
    hours = ((seconds + before) * gpus / 3600).mean()
    told = hours if device != UNKNOWN else float("nan")
    return {**known, "seconds": seconds.mean(), "stage_one_seconds": before.mean(), "gpu_hours": told}


def _row(row: Row, device: str, costs: dict[str, float], runs: pd.DataFrame) -> dict[str, object]:
    return {"label": row.key, "device": device, "n": len(runs), **costs, "runs": " ".join(runs["run_ids"])}
