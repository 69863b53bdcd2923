"""`python -m lt_bench.report`: tables from run records."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from lt_bench.command import DONE, FAILED, as_called, exit_status, printable
from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import headline, recorded
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.files import write_atomic
from lt_bench.record.collect import Found
from lt_bench.record.contributed import KEY, packed
from lt_bench.record.record import PREDICTIONS, RunRecord
from lt_bench.record.sets import SET, with_sets
from lt_bench.report import compare, evaluate
from lt_bench.report.arguments import parser
from lt_bench.report.asked import metric_names
from lt_bench.report.baselines import with_baselines
from lt_bench.report.cost import cost_table
from lt_bench.report.frame import frame
from lt_bench.report.illustrate import illustrated
from lt_bench.report.matching import ASKED, about_published, asked_for
from lt_bench.report.methods import NAME as METHODS
from lt_bench.report.methods import methods_table
from lt_bench.report.output import write
from lt_bench.report.page import command as page
from lt_bench.report.pages import names_in, update
from lt_bench.report.paired import baseline_label, paired_table
from lt_bench.report.pivot import pivot_table
from lt_bench.report.published import published_tables
from lt_bench.report.ranks import ranks_table
from lt_bench.report.reading import on_split, read
from lt_bench.report.sections import all_labels, is_row, sections
from lt_bench.report.selection import chosen
from lt_bench.report.tables import BALANCE, MEASURED, Table, accuracy_table, named_apart

SELDOM = 100_000  # new objects between two looks for garbage; Python's own number is for programs that keep little
COMMANDS = {one.COMMAND: one.main for one in (compare, evaluate, page)}


def _chosen(runs: list[Found], arguments: argparse.Namespace) -> list[Found]:
    """The runs that are asked for; none where published results alone are."""
    if arguments.published and not runs and not about_published(arguments.where):
        told = f"no published result has all of {' '.join(arguments.where)}"
        raise UsageError(f"--where: {told}; without runs its keys are {', '.join(ASKED)}")
    try:
        return chosen(runs, arguments.where)
    except UsageError:
        if arguments.published and about_published(arguments.where):
            return []
        raise


def _published_alone(arguments: argparse.Namespace) -> bool:
    """Whether published results are asked for where nothing was run yet and no folder is named."""
    usual = parser().get_default("runs")
    return arguments.published and arguments.runs == usual and not any(path.exists() for path in usual)


def _export(found: list[Found], path: Path) -> None:
    """One record of a whole run a line, with what of its predictions can travel, sorted by what was run."""
    key = attrgetter(
        *(f"record.{name}" for name in ("dataset", "method", "stage_two", "setting_id", "split_seed", "seed", "run_id"))
    )
    values = [one.record.to_dict() | _beside_record(one) for one in sorted(found, key=key)]
    lines = [json.dumps(one, ensure_ascii=False, allow_nan=False) for one in values]
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def _beside_record(found: Found) -> dict[str, Any]:
    """What an exported line has beside its record; nothing where its predictions are not there."""
    if found.folder is not None:
        return {KEY: packed(load_predictions(found.folder / PREDICTIONS))}
    return {KEY: found.packed} if found.packed else {}


def _beside(runs: Path) -> Path:
    """Where the tables of some runs go unless another place is named: never into a checkout's published results.

    Those are in a folder that has records beside its tables, and that somebody's runs may be in as well.
    """
    folder = runs.parent if runs.is_file() else runs
    return folder / ("own_tables" if (folder / "records").is_dir() else "tables")


def _tables(records: list[RunRecord], more: list[str], ranked: list[str], arguments: argparse.Namespace) -> list[Table]:
    """All tables; SystemExit with status 2 if no table has the baseline, or an axis is missing."""
    if arguments.rows or arguments.cols:
        if not (arguments.rows and arguments.cols):
            parser().error("--rows and --cols belong together, such as --rows method --cols imbalance --metric few")
        if arguments.cost or arguments.baseline or ranked:
            parser().error("--cost, --baseline and --ranks are of the usual tables: leave out them, or --rows")
        if arguments.published:
            parser().error("--published makes tables of its own: leave out it, or --rows and --cols")
        made = [pivot_table(records, arguments.rows, arguments.cols, metric) for metric in more or ["top1"]]
        return named_apart(made)
    parts = sections(frame(records)) if records else []
    if arguments.published:
        if arguments.cost or arguments.baseline or ranked or more:
            parser().error("--published makes tables of its own: leave out --cost, --baseline, --ranks and --metric")
        return named_apart(published_tables(parts, asked_for(arguments.where)))
    tables = [accuracy_table(part, more) for part in parts]
    tables += [cost_table(part) for part in parts if arguments.cost]
    for baseline in dict.fromkeys(map(baseline_label, arguments.baseline)):
        if not is_row(baseline, parts):
            parser().error(f"--baseline: no row {baseline!r}; expected one of: {'; '.join(all_labels(parts))}")
        tables += [table for part in parts if (table := paired_table(part, baseline))]
    return named_apart([*tables, *(ranks_table(parts, name) for name in ranked)])


def main(argv: Sequence[str] | None = None) -> int:
    """Make the tables; returns the exit status: 0 done, 1 failed (wrong usage exits with 2)."""
    return exit_status(lambda: _dispatch(sys.argv[1:] if argv is None else [*argv]), "lt_bench.report", goes_on=False)


def _dispatch(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return _done(lambda: COMMANDS[words[0]](words[1:]))
    arguments = parser().parse_args(words)
    more = metric_names(arguments.metric, parser())
    ranked = metric_names(_ranked(arguments), parser(), "--ranks")
    return _done(lambda: _make(arguments, more, ranked))


def _ranked(arguments: argparse.Namespace) -> list[str]:
    """The metrics of the tables of ranks that are named."""
    return arguments.ranks or []


def _usual(records: list[RunRecord]) -> str:
    """What rows are ranked by where no metric is named: accuracy, or the mean IoU of records of pixels alone."""
    last = {headline(record.metrics)[-1] for record in records}
    return last.pop() if len(last) == 1 else "top1"


def _done(work: Callable[[], int]) -> int:
    """What the work returns; 1, and one line, for what it cannot use."""
    try:
        with _rarely_collected():
            return work()
    except (UsageError, OSError) as error:
        print(printable(as_called(str(error))), file=sys.stderr)
        return FAILED


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """A block in which Python seldom looks for garbage in circles: of records, which are kept, there is none.

    To look through thousands of them again and again takes a fifth of a report's time.
    """
    usual = gc.get_threshold()
    gc.set_threshold(SELDOM, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _make(arguments: argparse.Namespace, more: list[str], ranked: list[str]) -> int:
    # what is passed on goes without its predictions, so it takes all metrics along that records have
    asked = {*(recorded() if arguments.export else [*MEASURED, BALANCE]), *more, *ranked}
    runs = [] if _published_alone(arguments) else read(arguments.runs, asked, arguments.verify)
    runs = with_sets(runs, arguments.logits, asked | {*recorded()})
    found = _chosen(runs, arguments)
    if arguments.export and found:
        _export([one for one in found if SET not in one.record.settings], arguments.export)
    if found or not arguments.published:
        on_split(found, arguments.evaluated_on, arguments.runs)
    records = [one.record for one in found]
    if not arguments.rows:  # whose cells are those that are asked for, of one setting each
        records = with_baselines(records, [one.record for one in runs], arguments.where)
    records = [one for one in records if one.evaluated_on == arguments.evaluated_on]
    if arguments.ranks == []:
        ranked = [_usual(records)]
    tables = _tables(records, more, ranked, arguments)
    out = arguments.out or _beside(arguments.runs[0])
    if arguments.figures is not None:
        shown = {one.run_id for one in records}
        tables = illustrated(tables, [one for one in runs if one.record.run_id in shown], arguments.figures, out)
    write(tables, out, arguments.format)
    for path in arguments.pages:
        there = [*tables, *([methods_table()] if METHODS in names_in(path) else [])]
        update(path, {table.name: table.markdown(out, path.parent) for table in there})
    return DONE


if __name__ == "__main__":
    sys.exit(main())
