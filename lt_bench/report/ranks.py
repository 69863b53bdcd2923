"""Tables of average ranks: methods over data sets, imbalance factors and networks, a section each."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import METRICS
from lt_bench.evaluation.ranks import FEW_BLOCKS, LEVEL, Ranking, ranking, some
from lt_bench.report.leaders import GROUPED
from lt_bench.report.sections import Row, Section
from lt_bench.report.tables import LABEL, SMOKE, Table, contributions, contributors

NAME = "ranks_{}"
CHOOSE = "--where method=A,B,C names some, and --metric one that all have"


def ranks_table(sections: Sequence[Section], name: str) -> Table:
    """Mean ranks of rows by a metric's mean over runs; rows of one label are one method in all sections.

    Rows whose checkpoints were chosen on the test set are left out, as are sections whose rows group their classes by
    several rules where the metric depends on them. Raises UsageError where too little is there.
    """
    rows = {section.name: _fair(section, name) for section in sections}
    if not METRICS[name].better:
        raise UsageError(f"--ranks {name}: nobody says whether high or low is better")
    scores = {block: {label: float(row.runs[name].mean()) for label, row in one.items()} for block, one in rows.items()}
    try:
        found = ranking(scores, METRICS[name].better)
    except UsageError as error:
        raise UsageError(f"--ranks by {METRICS[name].column}: {error}; {CHOOSE}") from None
    mean, away = found.mean.tolist(), (found.mean - found.mean[0]).tolist()
    of_blocks = [rows[block] for block in found.blocks]
    cells = [
        {
            LABEL: f"{label}{' ‡' * _others(label, of_blocks)}",
            "mean rank": f"{one:.2f}",
            "behind the best": f"{far:.2f}",
            "p against it": f"{p:.3f}",
        }
        for label, one, far, p in zip(found.methods, mean, away, found.against_best, strict=True)
    ]
    values = [
        {
            "label": label,
            "metric": name,
            "mean_rank": mean[place],
            "p_against_best": found.against_best[place],
            "friedman": found.statistic,
            "friedman_p": found.p,
            "critical_difference": found.distance,
            **{f"rank_{block}": ranks[place] for block, ranks in zip(found.blocks, found.ranks, strict=True)},
            "runs": " ".join(text for block in found.blocks for text in rows[block][label].runs["run_ids"]),
        }
        for place, label in enumerate(found.methods)
    ]
    bold = [{"mean rank"} if place < found.leading else set() for place in range(len(cells))]
    used = [section for section in sections if section.name in found.blocks]
    ranked = [block[label] for block in of_blocks for label in found.methods]
    caption = [_explain(found, METRICS[name].column), *_notes(found, used), *contributions(ranked)]
    return Table(NAME.format(name), caption, pd.DataFrame(cells), pd.DataFrame(values), bold)


def _others(label: str, blocks: Sequence[dict[str, Row]]) -> bool:
    """Whether others ran a method of that label in any table."""
    return any(contributors(block[label]) for block in blocks)


def _fair(section: Section, name: str) -> dict[str, Row]:
    """The rows of a section that may be ranked by a metric, by label."""
    if name in GROUPED and "group_rule" in section.differing():
        return {}
    fair = [row for row in section.rows if row.fields["selection"] != "best_test"]
    return {row.label: row for row in fair if row.runs[name].notna().all()}


def _explain(found: Ranking, column: str) -> str:
    n, k = found.ranks.shape
    where = f"over {n} tables ({', '.join(found.blocks)})"
    what = f"Mean ranks of {k} methods by {column} {where}: 1 is the best, ties share"
    friedman = f"Friedman's test: chi-squared {found.statistic:.2f} with {k - 1} degrees of freedom, p = {found.p:.3f}"
    if found.p >= LEVEL:
        told = "which does not tell the methods apart, so that their order says nothing"
    else:
        told = "so that not all are alike; bold: the best, and what Nemenyi's test does not tell from it at 5 %"
    return f"{what}. {friedman}, {told}. Critical difference of mean ranks (Nemenyi): {found.distance:.2f}."


def _notes(found: Ranking, used: Sequence[Section]) -> list[str]:
    """What a reader must know: what is left out, and what the tests take for granted."""
    notes = [SMOKE] * any(section.fields["budget"] == "smoke" for section in used)
    if len({section.fields["dataset"] for section in used}) < len(used):
        notes.append("Tables on one data set share images and are not independent, so that p-values are too small.")
    if len(found.blocks) < FEW_BLOCKS:
        notes.append(f"Fewer than {FEW_BLOCKS} tables: both tests are rough.")
    if found.left_out:
        lacking = "; ".join(f"{block} lacks {some(names)}" for block, names in found.left_out.items())
        notes.append(f"Left out: {lacking}.")
    if found.unranked:
        notes.append(f"In one table alone, and not ranked: {some(found.unranked)}.")
    return notes
