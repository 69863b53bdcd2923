"""Runs that share a stage one are one group, after it; one that is running or queued elsewhere is waited for."""

import pytest

from lt_bench.launch.planning.plan import plan
from lt_bench.launch.planning.run_groups import run_groups
from lt_bench.launch.states import DONE, QUEUED, RUNNING, TO_DO, State


def test_runs_of_a_shared_stage_are_one_group_after_it():
    runs = plan(["method=ce,sbcl", "stage_two=cb,ldam_drw"])
    known = {run.stage_one_folder: State(TO_DO) for run in runs}
    first, second = run_groups(runs, known)
    assert first.stage_one_first and second.stage_one_first and first.runs == runs[:2] and second.runs == runs[2:]
    (alone,) = run_groups(runs[:1], known)
    assert not alone.stage_one_first and alone.after_job is None
    known[runs[0].stage_one_folder] = State(DONE)
    assert [group.stage_one_first for group in run_groups(runs[:2], known)] == [False, False]


@pytest.mark.parametrize(("state", "job"), [(RUNNING, None), (RUNNING, "7_3"), (QUEUED, "7_3")])
def test_a_stage_one_that_is_running_or_queued_is_waited_for(state, job):
    runs = plan(["method=ce", "stage_two=cb,ldam_drw"])
    found = run_groups(runs, {runs[0].stage_one_folder: State(state, job=job)})
    assert [(group.stage_one_first, group.after_job) for group in found] == [(False, job)] * 2
