"""The cost of runs is estimated from the records of similar ones."""

from dataclasses import replace

import pytest

from lt_bench.files import write_json
from lt_bench.launch.planning.estimate import Estimate, estimate, expected_cost
from lt_bench.launch.planning.plan import plan
from lt_bench.machine import gpu_name


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


def test_records_of_another_device_say_nothing_of_this_one(record):
    (run,) = plan(["method=ce", "stage_two=none"])
    there, here = record(run, 3600.0, 0.0), replace(record(run, 7200.0, 0.0), run_id="b")
    here = replace(here, cost=here.cost | {"device": "A100"})
    found = [estimate([run], {run.stage_one: True}, [there, here], device) for device in ("H100", "A100", "L4")]
    assert [(one.hours, one.records, one.device) for one in found] == [(1, 1, "H100"), (2, 1, "A100"), (0, 0, "L4")]
    assert str(found[2]) == (
        "no estimate: its hours are not known, because no similar run was measured on L4 in this folder yet"
    )
    unknown = estimate([run], {run.stage_one: True}, [there, here, replace(here, run_id="c")])
    assert (unknown.hours, unknown.records, unknown.device) == (2, 2, "A100")  # of which there are most


@pytest.mark.parametrize(
    ("words", "gpu", "device"),
    [
        (["device=auto"], "H100", "H100"),
        (["device=auto"], None, "cpu"),
        (["device=cpu"], "H100", "cpu"),
        (["launch=slurm"], "H100", ""),
    ],
)
def test_the_cost_of_a_sweep_is_that_on_the_device_of_its_runs(words, gpu, device, record, tmp_path, monkeypatch):
    monkeypatch.setattr("lt_bench.launch.planning.estimate.gpu_name", lambda: gpu)
    runs = plan(["method=ce", "stage_two=none", f"output_dir={tmp_path}", *words])
    done = {run.stage_one: False for run in runs}
    assert expected_cost(runs, done) == Estimate(0.0, 0, 1, "")
    write_json(tmp_path / "other" / "record.json", record(runs[0], 3600.0, 0.0).to_dict())
    found = expected_cost(runs, done)
    assert (found.device, found.hours) == ((device or "H100"), 0.0 if device == "cpu" else 1.0)


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() is None
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho NVIDIA H200\necho NVIDIA L4\n")
    driver.chmod(0o755)
    assert gpu_name() == "NVIDIA H200"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_name() is None
