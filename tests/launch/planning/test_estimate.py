"""The cost of runs is estimated from the records of similar ones."""

from dataclasses import replace

import pytest

from lt_bench.launch.planning.estimate import Estimate, estimate
from lt_bench.launch.planning.plan import plan


def test_an_estimate_is_the_median_of_earlier_seeds(record):
    runs = plan(["method=ce", "stage_two=none,cb", "seed=range(4)"])
    earlier = [record(run, 1800.0, 3600.0) for run in runs if run.config.seed < 2]
    earlier.append(record(runs[2], 999999.0, 999999.0))  # one of three does not move a median
    done = {run.stage_one: run.config.seed == 3 for run in runs}
    found = estimate(runs, done, earlier)
    # eight runs of half an hour; three of four stage ones of an hour, each of them once
    assert found == Estimate(8 * 0.5 + 3 * 1.0, 5, 0, "H100")
    assert str(found) == "about 7 GPU-hours on H100, from the records of 5 earlier runs"


def test_an_estimate_knows_shared_gpus_processes_and_similar_runs(record):
    (run,) = plan(["method=ce", "stage_two=cb", "launch=slurm_packed"])
    (other,) = plan(["method=ce", "stage_two=cb", "train.lr=0.3"])
    (far,) = plan(["method=supcon"])
    earlier = [record(other, 3600.0, 7200.0, environment={"processes": 2})]
    assert estimate([run], {run.stage_one: False}, earlier).hours == pytest.approx(6 / 4)
    found = estimate([run, far], {run.stage_one: True, far.stage_one: True}, earlier)
    assert (found.hours, found.unknown) == (pytest.approx(2 / 4), 1) and "1 runs without similar records" in str(found)
    assert str(estimate([far], {far.stage_one: True}, [])).startswith("no estimate")


def test_a_record_without_its_cost_says_nothing_of_a_run(record):
    (run,) = plan(["method=ce", "stage_two=none"])
    bare = [replace(record(run, 1.0, 1.0), cost=cost) for cost in ({}, {"seconds": 1.0}, {"device": "cpu"})]
    assert str(estimate([run], {run.stage_one: True}, bare)).startswith("no estimate")
