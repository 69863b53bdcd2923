"""`python -m lt_bench.report`: tables from run records."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

from lt_bench.command import DONE, FAILED, as_called, exit_status, printable
from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import recorded
from lt_bench.files import write_atomic
from lt_bench.record.record import RunRecord
from lt_bench.report import evaluate
from lt_bench.report.arguments import parser
from lt_bench.report.asked import metric_names
from lt_bench.report.cost import cost_table
from lt_bench.report.formats import FORMATS, as_text
from lt_bench.report.frame import frame
from lt_bench.report.page import command as page
from lt_bench.report.pages import update
from lt_bench.report.paired import baseline_label, paired_table
from lt_bench.report.pivot import pivot_table
from lt_bench.report.reading import on_split, read
from lt_bench.report.sections import all_labels, is_row, sections
from lt_bench.report.selection import chosen
from lt_bench.report.tables import BALANCE, MEASURED, Table, accuracy_table, named_apart

COMMANDS = {evaluate.COMMAND: evaluate.main, page.COMMAND: page.main}


def _export(runs: list[RunRecord], path: Path) -> None:
    """One record of a whole run a line, sorted by what was run."""
    key = attrgetter("dataset", "method", "stage_two", "setting_id", "split_seed", "seed", "run_id")
    lines = [json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False) for record in sorted(runs, key=key)]
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def _beside(runs: Path) -> Path:
    """Where the tables of some runs go unless another place is named: never into a checkout's published results.

    Those are in a folder that has records beside its tables, and that somebody's runs may be in as well.
    """
    folder = runs if runs.is_dir() else runs.parent
    return folder / ("own_tables" if (folder / "records").is_dir() else "tables")


def _tables(records: list[RunRecord], more: list[str], arguments: argparse.Namespace) -> list[Table]:
    """All tables; SystemExit with status 2 if no table has the baseline, or an axis is missing."""
    if arguments.rows or arguments.cols:
        if not (arguments.rows and arguments.cols):
            parser().error("--rows and --cols belong together, such as --rows method --cols imbalance --metric few")
        if arguments.cost or arguments.baseline:
            parser().error("--cost and --baseline are of the usual tables: leave them out, or --rows and --cols")
        made = [pivot_table(records, arguments.rows, arguments.cols, metric) for metric in more or ["top1"]]
        return named_apart(made)
    parts = sections(frame(records))
    tables = [accuracy_table(part, more) for part in parts]
    tables += [cost_table(part) for part in parts if arguments.cost]
    for baseline in dict.fromkeys(map(baseline_label, arguments.baseline)):
        if not is_row(baseline, parts):
            parser().error(f"--baseline: no row {baseline!r}; expected one of: {'; '.join(all_labels(parts))}")
        tables += [table for part in parts if (table := paired_table(part, baseline))]
    return named_apart(tables)


def _write(tables: list[Table], folder: Path, formats: Sequence[str]) -> None:
    """Write the tables and print them, also where the folder takes none: UsageError with what to type instead."""
    refused: OSError | None = None
    for table in tables:
        try:
            for suffix, content in map(FORMATS.__getitem__, formats):
                write_atomic(folder / f"{table.name}.{suffix}", content(table))
        except OSError as error:
            refused = error
        print(as_text(table))
    if refused:
        raise UsageError(f"cannot write tables into {folder} ({refused.strerror}); name another place with --out DIR")
    word = "table is" if len(tables) == 1 else "tables are"
    print(f"lt_bench: {len(tables)} {word} in {folder}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the tables; returns the exit status: 0 done, 1 failed (wrong usage exits with 2)."""
    return exit_status(lambda: _dispatch(sys.argv[1:] if argv is None else [*argv]), "lt_bench.report")


def _dispatch(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return _done(lambda: COMMANDS[words[0]](words[1:]))
    arguments = parser().parse_args(words)
    return _done(lambda: _make(arguments, metric_names(arguments.metric, parser())))


def _done(work: Callable[[], int]) -> int:
    """What the work returns; 1, and one line, for what it cannot use."""
    try:
        return work()
    except (UsageError, OSError) as error:
        print(printable(as_called(str(error))), file=sys.stderr)
        return FAILED


def _make(arguments: argparse.Namespace, more: list[str]) -> int:
    # what is passed on goes without its predictions, so it takes all metrics along that records have
    asked = {*(recorded() if arguments.export else [*MEASURED, BALANCE]), *more}
    found = chosen(read(arguments.runs, asked, arguments.verify), arguments.where)
    if arguments.export and found:
        _export([one.record for one in found], arguments.export)
    runs = on_split(found, arguments.evaluated_on, arguments.runs)
    tables = _tables([one.record for one in runs], more, arguments)
    _write(tables, arguments.out or _beside(arguments.runs[0]), arguments.format)
    for path in arguments.pages:
        update(path, {table.name: table.markdown() for table in tables})
    return DONE


if __name__ == "__main__":
    sys.exit(main())
