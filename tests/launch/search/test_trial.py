"""Trials carried out: ordinary runs that are stopped, killed and gone on with, here and as jobs of a cluster."""

import os
import signal
import subprocess
import sys

import pytest
from helpers.chain import Killed, kill_after
from helpers.command_line import wait_for

from lt_bench.errors import Interrupted
from lt_bench.files import read_json, write_json
from lt_bench.launch.search.carry_out import TrialGroup, run_search, search_text, trial_states
from lt_bench.launch.search.planned import SEARCH, TRIAL, plan_search, trial_of
from lt_bench.launch.slurm.arrays import queue_groups
from lt_bench.launch.slurm.cluster import Cluster
from lt_bench.record.folder import code_version, finished

pytest.importorskip("optuna", reason="needs lt_bench[search]")

from lt_bench.launch.search.study import open_study
from lt_bench.launch.search.trial import carry_out_trial

QUICK = ("method=ce", "dataset.validation_per_class=5", "train.epochs=3", "progress=false", "device=cpu", "threads=1")
LR = "search.space.train.lr=log(0.01,0.3)"


def searched(tmp_path, *words, trials=2):
    """A search whose folder is ready for its trials."""
    typed = ("search=optuna", *QUICK, f"search.trials={trials}", f"output_dir={tmp_path}", *words)
    search = plan_search(typed if any("search.space" in word for word in words) else (*typed, LR))
    for folder in search.trials:
        folder.mkdir(parents=True)
    write_json(search.folder / SEARCH, search.written(code_version()))
    open_study(search.folder, search.search, search.prunes)
    return search


def test_a_trial_is_an_ordinary_run_on_validation_images_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    whole, killed = searched(tmp_path / "a"), searched(tmp_path / "b")
    for search in (whole, killed):
        with monkeypatch.context() as patch:
            if search is killed:
                kill_after(patch, 4)
                with pytest.raises(Killed):
                    carry_out_trial(search.trials[0])
                assert "words" in trial_of(search.trials[0]) and "state" not in trial_of(search.trials[0])
        for folder in search.trials:
            assert carry_out_trial(folder) == 0
    for one, other in zip(whole.trials, killed.trials, strict=True):
        assert trial_of(one) == trial_of(other) and trial_of(one)["state"] == "complete"
    run = trial_of(whole.trials[0])["run"]
    record, folder = finished(str(tmp_path / "a"), run)
    assert (record.evaluated_on, record.selection) == ("validation", "best_validation")
    assert record.metrics["macro"] == trial_of(whole.trials[0])["score"]
    assert read_json(folder / "submission.json")["overrides"][-1] == trial_of(whole.trials[0])["words"][0]
    text = search_text(whole)
    assert "2 of 2 trials done" in text and "best: trial" in text and "seed='range(5)'" in text
    assert all(state.name == "done" for state in trial_states(whole).values())


def test_a_trial_that_falls_behind_is_stopped_at_an_epoch_and_one_that_a_signal_stops_is_open(tmp_path, monkeypatch):
    search = searched(tmp_path, "search.prune_after_trials=1", "search.prune_after_epochs=0")
    carry_out_trial(search.trials[0])
    monkeypatch.setattr("lt_bench.launch.search.trial.falls_behind", lambda study, number: True)
    assert carry_out_trial(search.trials[1]) == 0
    assert (trial_of(search.trials[1])["state"], trial_of(search.trials[1])["epochs"]) == ("stopped", 1)
    assert [trial.state.name for trial in open_study(search.folder, search.search, True).trials] == [
        "COMPLETE",
        "PRUNED",
    ]
    monkeypatch.undo()

    other = searched(tmp_path / "other")
    monkeypatch.setattr("lt_bench.launch.search.trial.note", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        carry_out_trial(other.trials[0])
    assert "state" not in trial_of(other.trials[0])


def test_a_setting_that_diverges_ends_its_trial_and_not_the_search(tmp_path):
    search = searched(tmp_path, "search.space.train.lr=1e30,1e31")
    assert carry_out_trial(search.trials[0]) == 0
    assert (trial_of(search.trials[0])["state"], trial_of(search.trials[0])["score"]) == ("diverged", None)
    assert search_text(search).endswith("no trial has a value of macro yet")


def test_the_file_of_a_search_cannot_ask_for_trust(tmp_path):
    search = searched(tmp_path, "trust=[evil]")
    assert not [word for word in read_json(search.folder / SEARCH)["words"] if "trust" in word]


def test_trials_are_tasks_of_an_array(tmp_path, monkeypatch):
    search, arrays = searched(tmp_path, "launch=slurm_packed", trials=6), []

    class Executor:
        def __init__(self, folder, **_):
            self.folder = folder

        def update_parameters(self, **parameters):
            arrays.append(parameters)

        def submit_array(self, tasks):
            arrays.append(tasks)
            return [type("Job", (), {"job_id": f"7_{number}"}) for number in range(len(tasks))]

    monkeypatch.setattr("lt_bench.launch.slurm.arrays.SlurmExecutor", Executor)
    monkeypatch.setattr("lt_bench.launch.slurm.arrays.shutil.which", lambda name: name)
    monkeypatch.setattr("lt_bench.launch.slurm.arrays.partitions", lambda chosen=False: [])
    groups = [TrialGroup([folder], search.config) for folder in search.trials]
    cluster = Cluster()
    vars(cluster).update(max_array_size=9, _settings={})
    assert list(queue_groups(groups, code_version(), cluster)) == [("7", 2, 6)]
    assert [[job.folder for job in task.jobs] for task in arrays[1]] == [search.trials[:4], search.trials[4:]]
    assert read_json(search.trials[0] / "job.json")["job"] == "7_0"


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_two_at_a_time_share_the_study(tmp_path, capfd):
    words = ["search=optuna", *QUICK, LR, "search.trials=4", f"output_dir={tmp_path}", "launch.parallel_runs=2"]
    process = subprocess.Popen([sys.executable, "-m", "lt_bench", "-m", *words], stderr=subprocess.DEVNULL)
    search = plan_search(words)
    wait_for(lambda: any((folder / TRIAL).exists() for folder in search.trials))
    process.kill()
    process.wait()
    assert run_search(words) == 0
    known = [trial_of(folder) for folder in search.trials]
    assert all(one["state"] in ("complete", "stopped") for one in known)
    assert len({one["run"] for one in known}) == 4
    assert "4 of 4 trials done" in capfd.readouterr().out
    assert run_search(words) == 0 and "to do: 0" in capfd.readouterr().err
