"""What a sweep ends with."""

import shutil

import pytest
from helpers import chain

from lt_bench.launch.planning.plan import plan
from lt_bench.launch.results import SHOWN, show_results
from lt_bench.launch.sweep import differences
from lt_bench.run.execute import execute


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs of one setting, and one of another that nobody has begun."""
    folder = tmp_path_factory.mktemp("sweep")
    words = (*chain.TINY, f"output_dir={folder}", "stage_two=none")
    planned = [*plan([*words, "method=ce", "seed=0,1"]), *plan([*words, "method=supcon", "stage_two=cb"])]
    for run in planned[:2]:
        execute(run.config)
    return planned


def test_the_table_has_the_finished_runs_and_the_line_below_it_the_folder(runs, capsys):
    show_results(runs, differences(runs))
    shown = capsys.readouterr()
    (row,) = [line for line in shown.out.splitlines() if line.startswith(" CE / –")]
    assert row.split()[-1] == "2" and "SupCon" not in shown.out
    assert shown.out.endswith(
        "\nclasses of new images: python -m lt_bench.predict FOLDER IMAGES, with one of\n"
        f"  {runs[0].output_dir}/{runs[0].identity}  method=ce seed=0\n"
        f"  {runs[1].output_dir}/{runs[1].identity}  method=ce seed=1\n"
        f"tables and files of all runs: python -m lt_bench.report --runs {runs[0].output_dir}\n"
        f"one page to sort, filter and compare them: python -m lt_bench.report page --runs {runs[0].output_dir}\n"
    )
    assert not shown.err


def test_of_many_runs_the_first_folders_are_named(runs, capsys):
    many = [runs[0]] * (SHOWN + 2)
    show_results(many, differences(runs))
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f"  {runs[0].output_dir}/") for line in lines) == SHOWN and "  and 2 more" in lines


def test_one_run_alone_has_said_its_result(runs, capsys):
    show_results([runs[0], runs[2]], differences(runs))
    shown = capsys.readouterr()
    assert not shown.out and not shown.err


def test_records_that_make_no_table_cost_the_sweep_nothing(runs, capsys):
    record = runs[0].folder / "record.json"
    shutil.copy(record, record.with_name("kept"))
    try:
        record.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
        show_results(runs, differences(runs))
    finally:
        record.with_name("kept").replace(record)
    shown = capsys.readouterr()
    assert "lt_bench: no table of these runs: setting" in shown.err and "report --runs" in shown.out
