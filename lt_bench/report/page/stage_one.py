"""The runs of stage one that others stand on."""

from __future__ import annotations

from collections.abc import Sequence

from lt_bench.figures.studies import Run
from lt_bench.record.record import RunRecord
from lt_bench.report.page.markup import anchor, link, scrolled, table, text

MOST = 12  # runs that are named


def stage_one(runs: Sequence[Run]) -> str:
    """A table of them with the runs that stand on each, whose records say what it cost."""
    above: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.record.stage_one_id is not None:
            above.setdefault(run.record.stage_one_id, []).append(run.record)
    heads = ["run", "method", "data set", "seed", "split seed", "seconds", "device", "runs on it"]
    rows = [_row(name, own) for name, own in sorted(above.items())]
    if not rows:
        return "<p>No run stands on a stage one of another run.</p>"
    return scrolled(table("The runs that trained the encoders", heads, rows), "Stage one")


def _row(name: str, above: Sequence[RunRecord]) -> list[str]:
    record = above[0]
    seconds = record.cost.get("stage_one_seconds")
    links = [link(anchor("run", one.run_id), f"<code>{text(one.run_id)}</code>") for one in above[:MOST]]
    more = [f"and {len(above) - MOST} more"] * (len(above) > MOST)
    return [
        f'<code id="{anchor("run", name)}" tabindex="-1">{text(name)}</code>',
        text(record.method_name),
        text(record.dataset),
        str(record.seed),
        str(record.split_seed),
        f"{seconds:,.1f}" if isinstance(seconds, (int, float)) else "–",
        text(record.cost.get("device", "–")),
        ", ".join([*links, *more]),
    ]
