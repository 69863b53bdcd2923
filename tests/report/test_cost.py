"""Tables of cost, and the way from a cell to its runs."""

import csv
import io

from helpers.samples import sample

from lt_bench.report.cost import cost_table
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.report.tables import accuracy_table

GPU = {
    "seconds": 1800.0,
    "stage_one_seconds": 5400.0,
    "images_per_second": 900.0,
    "peak_memory_mb": 4000,
    "device": "H100",
}


def only(records):
    (section,) = sections(frame(records))
    return section


def test_gpu_hours_are_those_of_all_processes_and_both_stages():
    records = [sample(seed=seed, cost=GPU, environment={"processes": 2 + 2 * seed}) for seed in (0, 1)]
    (row,) = cost_table(only(records)).values.to_dict("records")
    assert row["gpu_hours"] == (2 + 4) / 2 * 2 and row["stage_one_seconds"] == 5400 and row["n"] == 2


def test_devices_are_not_mixed_and_what_is_not_known_is_a_dash():
    made = cost_table(only([sample(cost=GPU), sample(seed=1)]))
    assert made.cells["device"].tolist() == ["H100", "cpu"]
    cpu = made.cells.iloc[1]
    assert cpu["images/s"] == cpu["memory, MiB"] == "–" and cpu["rest, s"] == "1.5" and cpu["GPU hours"] == "0.00"


def test_of_an_unknown_device_no_gpu_hours_are_known():
    made = cost_table(only([sample(cost={"seconds": 3600.0})]))
    assert made.cells[["device", "rest, s", "GPU hours"]].iloc[0].tolist() == ["–", "3,600.0", "–"]


def test_a_cell_leads_to_its_runs_also_where_several_draws_are_one():
    few = {"stage_two": "few_shot_probe", "stage_two_name": "Few-shot"}
    records = [
        sample(**few, seed=seed, run_id=f"run{seed}{shots}", settings={"stage_two.shot_seed": shots} if shots else {})
        for seed in (0, 1)
        for shots in (0, 1, 2)
    ]
    rows = list(csv.DictReader(io.StringIO(accuracy_table(only(records)).csv())))
    assert [row["n"] for row in rows] == ["2"]
    assert sorted(rows[0]["runs"].split()) == sorted(record.run_id for record in records)
    assert cost_table(only(records)).values["runs"][0] == rows[0]["runs"]
