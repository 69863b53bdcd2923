"""What a sweep ends with: the tables of its finished runs, and what to type for more."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lt_bench.command import as_called

from .planning.plan import PlannedRun

SHOWN = 12  # folders of a sweep


def show_results(runs: Sequence[PlannedRun], labels: Mapping[Path, str]) -> None:
    """Print a table for every data set of a sweep's finished runs, or why there is none, and the folders of the runs.

    ``labels`` say by folder what a run is. A sweep that has fewer than two finished runs shows nothing: each run has
    printed its own result.
    """
    from lt_bench.errors import UsageError  # pandas comes with the tables, which few commands need
    from lt_bench.record.collect import read_records
    from lt_bench.record.record import RECORD
    from lt_bench.report.formats import as_text
    from lt_bench.report.frame import frame
    from lt_bench.report.sections import sections
    from lt_bench.report.tables import MEASURED, accuracy_table

    done = [run.folder / RECORD for run in runs if (run.folder / RECORD).is_file()]
    if len(done) < 2:
        return
    words = " ".join(shlex.quote(folder) for folder in dict.fromkeys(run.output_dir for run in runs))
    try:
        for section in sections(frame(read_records(done, MEASURED))):
            print(f"\n{as_text(accuracy_table(section))}", end="")
    except (UsageError, OSError) as error:
        print(f"lt_bench: no table of these runs: {error}", file=sys.stderr)
    report = as_called("python -m lt_bench.report")
    print(f"\n{_folders([run for run in runs if run.folder / RECORD in done], labels)}")
    print(f"tables and files of all runs: {report} --runs {words}")
    print(f"one page to sort, filter and compare them: {report} page --runs {words}")


def _folders(runs: Sequence[PlannedRun], labels: Mapping[Path, str]) -> str:
    """The folders of some runs, and what to type for the classes of new images; of many runs the first ones."""
    lines = [f"classes of new images: {as_called('python -m lt_bench.predict')} FOLDER IMAGES, with one of"]
    lines += [f"  {shlex.quote(str(Path(run.output_dir, run.identity)))}  {labels[run.folder]}" for run in runs[:SHOWN]]
    return "\n".join([*lines, *[f"  and {len(runs) - SHOWN:,} more"] * (len(runs) > SHOWN)])
