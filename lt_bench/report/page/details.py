"""What stands behind a row: its runs, how they were made, and what they show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from lt_bench.config.stages import StageName
from lt_bench.evaluation.metrics import METRICS, headline
from lt_bench.figures import studies
from lt_bench.figures.studies import NotPossible, Study
from lt_bench.record.conditions import word
from lt_bench.record.record import CHOSEN, PREDICTIONS, RunRecord
from lt_bench.report.page.markup import anchor, block, link, scrolled, table, text
from lt_bench.report.page.per_class import per_class
from lt_bench.report.page.tested import confusion, reliability
from lt_bench.report.page.training import training
from lt_bench.report.sections import Row, Section
from lt_bench.report.tables import main_metrics, marked, number

MOST_LINES, MOST_VALUES = 120, 5  # of a config, and of what differs between runs
FINEST, COARSEST, ALL = 100, 20, 4000  # classes and points of a curve in a row's pictures, and in the whole page


class Shown(NamedTuple):
    """A row in the page: where its parts are, its runs, its number among all rows, its table's."""

    id: str
    place: int
    table: int
    section: Section
    row: Row
    runs: Sequence[studies.Run]


def shown(sections: Sequence[Section], runs: dict[str, studies.Run]) -> list[Shown]:
    """All rows of some tables, with their runs."""
    found = [(table, section, row) for table, section in enumerate(sections) for row in section.rows]
    return [
        Shown(anchor("row", f"{section.name} {row.key}"), place, table, section, row, _runs(row, runs))
        for place, (table, section, row) in enumerate(found)
    ]


def _runs(row: Row, runs: dict[str, studies.Run]) -> list[studies.Run]:
    """The runs of a row, draws of a probe's shots among them."""
    named = [name for words in row.runs["run_ids"] for name in (words, *words.split(" ")) if name in runs]
    found = [runs[name] for name in dict.fromkeys([*named, *row.runs["run_id"]])]
    return sorted(found, key=lambda run: (run.record.split_seed, run.record.seed, run.record.run_id))


def fineness(rows: int) -> int:
    """How many classes and points of a curve one of so many rows shows, so that the page keeps its size."""
    return min(FINEST, max(COARSEST, ALL // max(1, rows)))


def details(one: Shown, fine: int, shared: Collection[str]) -> str:
    """The part of the page that is about a row, which somebody opens; ``shared`` lines of its config are not in it."""
    label, study = text(marked(one.row)), _study(one, one.runs)
    what = study.score[0]
    parts = [
        f'<p><button type="button" data-compare="{one.place}">Compare this row</button>',
        f" {link('overview', 'All rows')}</p>",
        f"<h4>Runs</h4>{_table_of_runs(one, label)}",
        f"<h4>{what[0].upper()}{what[1:]} of the classes</h4>{_drawn(per_class, study, fine)}",
        f"<h4>Training</h4>{_drawn(training, study, fine)}",
        f"<h4>Confusion and calibration</h4>{_predicted(one, label)}",
        f"<h4>Config</h4>{block(line for line in config(one) if line not in shared)}",
        f"<p>And {link(anchor('settings', one.section.name), 'what all rows of the table have')}.</p>" * bool(shared),
        f"<h4>Environment</h4>{block(_environment([run.record for run in one.runs]))}",
    ]
    figures = ", ".join(
        f"{METRICS[name].column} {number(100 * one.row.runs[name].mean(skipna=False))}"
        for name in main_metrics(one.section)[-2:]
    )
    head = f"<summary><h3>{label}</h3> <span>{figures}</span></summary>"
    return f'<details class="row">{head}<div id="{one.id}" tabindex="-1">{"".join(parts)}</div></details>'


def _study(one: Shown, runs: Sequence[studies.Run]) -> Study:
    return Study(one.section.name, one.section.name, (studies.Row(one.row.label, tuple(runs)),))


def _predicted(one: Shown, label: str) -> str:
    """What can be made of those runs alone that have their predictions."""
    runs = [run for run in one.runs if run.folder is not None and (run.folder / PREDICTIONS).exists()]
    missing = len(one.runs) - len(runs)
    left = f"<p>{missing} of {len(one.runs)} runs have no {PREDICTIONS} beside their record.</p>" * (missing > 0)
    study = _study(one, runs)
    matrix = scrolled(_drawn(confusion, study), f"Confusion of {label}")
    return left + (f'<div class="side">{matrix}<div>{_drawn(reliability, study)}</div></div>' if runs else "")


def _drawn(draw: Callable[..., str], study: Study, *more: int) -> str:
    """What a picture's function gives, or why there is none, without the names of folders."""
    try:
        return draw(study, *more)
    except NotPossible as error:
        said = str(error) if error.__cause__ is None else "a file of these runs cannot be read"
        return f"<p>Not shown: {text(said)}.</p>"


def _table_of_runs(one: Shown, label: str) -> str:
    heads = [
        "run",
        "seed",
        "split seed",
        *(METRICS[name].column for name in main_metrics(one.section)),
        "chosen epoch",
        "stage one",
        "seconds",
        "device",
    ]
    return scrolled(table(f"Runs of {label}", heads, map(_run, one.runs)), f"Runs of {label}")


def _run(run: studies.Run) -> list[str]:
    record, cost = run.record, run.record.cost
    metrics = [
        number(float("nan" if (value := record.metrics[name]) is None else 100 * value))
        for name in headline(record.metrics)
    ]
    below = record.stage_one_id
    return [
        f'<code id="{anchor("run", record.run_id)}" tabindex="-1">{text(record.run_id)}</code>',
        str(record.seed),
        str(record.split_seed),
        *metrics,
        text(", ".join(_chosen(record)) or "–"),
        "–" if below is None else link(anchor("run", below), f"<code>{text(below)}</code>"),
        number(float(cost.get("seconds", "nan")), ",.1f"),
        text(cost.get("device", "–")),
    ]


def _chosen(record: RunRecord) -> Iterable[str]:
    """The epochs, from 1, whose weights were kept, with their scores."""
    for stage in StageName:
        kept = record.epochs.get(CHOSEN, {}).get(stage.training)
        if kept and "epoch" in kept:
            score = f" ({100 * kept['score']:.1f} % on {kept.get('on', '?')})" if "score" in kept else ""
            yield f"{stage.value}: {kept['epoch'] + 1}{score}"


def shared_config(rows: Sequence[Shown]) -> set[str]:
    """The lines of the configs of a table that stand in all of several rows, which the table shows once."""
    every = [set(config(one)) for one in rows]
    return set.intersection(*every) if len(every) > 1 else set()


def config(one: Shown) -> list[str]:
    """What was run, in the words of a command line; the seeds are in the table of runs."""
    record = one.runs[0].record
    fields = ("dataset", "imbalance_factor", "imbalance_profile", "method", "stage_two", "backbone", "budget")
    named = (*fields, "fidelity", "selection", "group_rule", "evaluated_on", "setting_id")
    lines = [f"{name}: {word(getattr(record, name))}" for name in named]
    settings = [f"{word(key)}: {word(value)}" for key, value in sorted(record.settings.items())]
    more = [f"… and {len(settings) - MOST_LINES} more"] * (len(settings) > MOST_LINES)
    return [*lines, *settings[:MOST_LINES], *more]


def _environment(records: Sequence[RunRecord]) -> list[str]:
    """Versions and machines, with every value that differs between runs."""
    lines = []
    for key in sorted({key for record in records for key in record.environment})[:MOST_LINES]:
        found = [*dict.fromkeys(word(record.environment[key]) for record in records if key in record.environment)]
        more = [f"{len(found) - MOST_VALUES} more"] * (len(found) > MOST_VALUES)
        lines.append(f"{word(key)}: {' | '.join([*found[:MOST_VALUES], *more])}")
    return lines or ["nothing is recorded"]
