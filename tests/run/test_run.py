"""The chain as a user sees it: records, options, bad input, interruption, several processes."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.chain import TINY, assert_identical, execute, results, tiny
from helpers.command_line import HELD, hear_signals, wait_for

from lt_bench.__main__ import main
from lt_bench.data.sources.fashion_mnist import DEBIAN_FOLDER
from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.record.record import read_record

ROOT = Path(__file__).parents[2]


def command(*words, **options):
    return subprocess.run([sys.executable, "-m", "lt_bench", *words], capture_output=True, text=True, **options)


def test_the_run_folder_holds_everything_and_metrics_come_from_the_predictions(tmp_path):
    record, folder = execute(tiny(tmp_path))
    expected = {
        "config.yaml", "environment.json", "split.json", "metrics.jsonl", "checkpoint.pt",
        "predictions.npz", "predictor.safetensors", "record.json", "status.json", "lock",
    }  # fmt: skip
    assert {path.name for path in folder.iterdir()} == expected
    assert evaluate(load_predictions(folder / "predictions.npz")) == record.metrics
    assert read_record(folder / "record.json") == record
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
    predictions = load_predictions(folder / "predictions.npz")
    assert predictions.logits.shape == (500, 10)
    manifest = json.loads((folder / "split.json").read_text())
    assert manifest["class_counts"] == record.metrics["train_counts"] and manifest["class_counts"][0] == 120
    assert (record.group_rule, record.selection, record.evaluated_on) == ("thirds", "last", "test")


def test_a_finished_run_is_not_repeated(tmp_path, capsys):
    words = [*TINY, f"output_dir={tmp_path}", "method=ce"]
    assert main(words) == 0
    threads, _, first = capsys.readouterr().out.partition("\n")
    assert threads.startswith("stage one: threads ")
    stamp = next(tmp_path.glob("*/predictions.npz")).stat().st_mtime_ns
    assert main(words) == 0
    again = capsys.readouterr().out
    assert again.startswith("done before: ") and again.removeprefix("done before: ") == first
    assert next(tmp_path.glob("*/predictions.npz")).stat().st_mtime_ns == stamp


def test_a_finished_run_whose_record_contradicts_its_predictions_is_not_believed(tmp_path, capsys):
    words = [*TINY, f"output_dir={tmp_path}", "method=ce"]
    assert main(words) == 0
    predictions = next(tmp_path.glob("*/predictions.npz"))
    record = predictions.with_name("record.json")
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"metrics": values["metrics"] | {"top1": 0.99}}))
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr()
    assert "99.0" not in said.out and "contradicts the predictions beside it: top1 is 0.99, from the" in said.err
    predictions.write_bytes(b"damaged")
    assert main(words) == 0
    assert "is not compared with its predictions" in capsys.readouterr().err
    predictions.unlink()
    assert main(words) == 0


def test_the_record_says_which_epochs_were_typed_and_what_moved(tmp_path, capsys):
    words = ["method=ldam_drw", "train.epochs=3", "progress=false", f"output_dir={tmp_path}"]
    assert main(words) == 0
    record = read_record(next(tmp_path.glob("*/predictions.npz")).with_name("record.json"))
    assert (record.budget, record.settings["train.schedule.milestones"]) == ("custom", [2, 2])
    assert record.epochs == {
        "train": {"epochs": 3, "recipe_epochs": 300},
        "moved": {
            "train.schedule.milestones": [2, 2],
            "train.schedule.warm_epochs": 1,
            "method.drw_start_epoch": 2,
        },
    }
    assert "budget custom (stage one 3 of 300 epochs)" in capsys.readouterr().out


def test_a_smoke_run_says_what_it_does_not_reach(tmp_path, capsys):
    assert main(["method=ce", "budget=smoke", "progress=false", f"output_dir={tmp_path}"]) == 0
    said = "train.schedule.milestones=[1, 1] is not reached: stage one has 1 epoch, counted from 0"
    assert f"  {said}\n" in capsys.readouterr().out
    for path in tmp_path.glob("*/record.json"):
        assert said in read_record(path).epochs["not_reached"] and read_record(path).budget == "smoke"


def test_validation_part_and_best_epoch(tmp_path):
    words = ("method=ce", "stage_two=cb", "dataset.validation_per_class=20", "evaluation.split=validation")
    record, folder = execute(tiny(tmp_path, *words, "evaluation.select=best_validation", "stage_two.train.epochs=3"))
    assert (record.evaluated_on, record.selection) == ("validation", "best_validation")
    assert record.metrics["test_counts"] == [20] * 10
    position = torch.load(folder / "checkpoint.pt", weights_only=True)["position"]
    assert record.metrics["macro"] == pytest.approx(position["best"]["score"])


def test_a_run_on_the_test_images_keeps_what_it_says_of_its_validation_images_too(tmp_path):
    words = ("method=ce", "stage_two=none", "dataset.validation_per_class=20")
    record, folder = execute(tiny(tmp_path / "test", *words))
    same, other = execute(tiny(tmp_path / "validation", *words, "evaluation.split=validation"))
    found, evaluated = (load_predictions(one / "predictions.npz") for one in (folder, other))
    assert found.validation is not None and evaluated.validation is None
    assert found.validation.totals.tolist() == [20] * 10 and found.totals.tolist() == record.metrics["test_counts"]
    assert evaluate(found.validation) == same.metrics != record.metrics == evaluate(found)
    assert evaluate(found, {"adjusted_top1"})["adjusted_top1"] is not None


def test_without_stage_two_the_best_epoch_is_stage_ones(tmp_path):
    words = ("method=ce", "stage_two=none", "evaluation.select=best_test")
    record, _ = execute(tiny(tmp_path, *words))
    position = torch.load(tmp_path / record.stage_one_id / "checkpoint.pt", weights_only=True)["position"]
    assert record.selection == "best_test"
    assert record.metrics["macro"] == pytest.approx(position["best"]["score"])


@pytest.mark.parametrize("rule", ["cb", "ldam_drw"])
def test_stage_two_on_cached_features(rule, tmp_path):
    record, _ = execute(tiny(tmp_path, "method=ce", f"stage_two={rule}", "stage_two.augment=false"))
    assert record.settings["stage_two.augment"] is False


def test_official_sbcl_runs_and_says_so(tmp_path):
    record, _ = execute(tiny(tmp_path, "fidelity=official"))
    assert record.fidelity == "official" and record.settings["method.clustering"] == "kmeans_official"


def test_fashion_mnist_from_a_folder_with_a_small_pool(tmp_path):
    folder = DEBIAN_FOLDER
    if not folder.exists():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    words = ("dataset=fashion_mnist_lt", "dataset.pool_per_class=100", "backbone.input_pool=2", "method=ce")
    record, _ = execute(tiny(tmp_path, *words, f"dataset.root={folder}"))
    assert record.metrics["train_counts"][0] == 100 and record.metrics["train_counts"][-1] == 1
    assert record.group_rule == "count_100_20"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imbalance.factor=500",), "class 7 would have no image.*imbalance.factor"),
        (("train.batch_size=4096", "train.drop_last=true"), "train.batch_size is at most .*or drop_last=false"),
        (("method.temperature=-1",), "^method.temperature is above 0, not -1.0; set method.temperature=0.1$"),
        (("train.schedule.warm_epochs=50",), "train.schedule: "),
        (("dataset.validation_per_class=120", "evaluation.split=validation"), "validation_per_class"),
    ],
)
def test_values_that_cannot_work_are_usage_errors(words, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        execute(tiny(tmp_path, *words))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_a_usage_error(tmp_path, capsys):
    assert main([*TINY, f"output_dir={tmp_path}", "device=cuda"]) == 2
    assert "device=cpu" in capsys.readouterr().err


def test_data_that_is_not_there_fails_with_an_address_and_a_place(tmp_path, capsys):
    words = [*TINY, f"output_dir={tmp_path}", "dataset=cifar100_lt", "dataset.download=false", f"data_dir={tmp_path}"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "https://www.cs.toronto.edu/" in said and str(tmp_path / "cifar100") in said and "dataset.root=DIR" in said


def test_a_diverging_run_stops_with_the_step_and_what_to_try(tmp_path, capsys):
    words = [*TINY, f"output_dir={tmp_path}", "method=ce", "train.lr=1e30"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "not finite at epoch" in said and "train.lr" in said
    status = json.loads(next(tmp_path.glob("*/trace.txt")).with_name("status.json").read_text())
    assert status["state"] == "failed" and "NonFiniteLoss" in status["error"]


def test_other_data_under_the_same_run_is_refused(tmp_path, monkeypatch):
    config = tiny(tmp_path, "method=ce")
    with monkeypatch.context() as patch:
        patch.setattr("lt_bench.run.stages.Runner.stage_one", lambda self, folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            execute(config)
    manifest = next(tmp_path.glob("*/split.json"))
    manifest.write_text(manifest.read_text().replace('"train_sha256": "', '"train_sha256": "0'))
    with pytest.raises(UsageError, match="train_sha256.*delete"):
        execute(config)


@pytest.mark.slow
def test_the_contributors_example_runs_from_a_file_outside_the_package(tmp_path):
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    (tmp_path / "smoothed_ce.py").write_text(re.search(r"```python\n(.*?)```", guide, re.DOTALL).group(1))
    words = ["method=ce", "method._target_=smoothed_ce.SmoothedCE", "method.name=smoothed", "method.smoothing=0.2"]
    done = command(*TINY, *words, f"output_dir={tmp_path / 'runs'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [read_record(path) for path in (tmp_path / "runs").glob("*/record.json")]
    assert {record.method for record in records} == {"smoothed"}
    assert all(record.settings["method.smoothing"] == 0.2 for record in records)
    wrong = command(*TINY, *words, "method.smooting=1", cwd=tmp_path)
    assert wrong.returncode == 2 and "smoothing" in wrong.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130)],
)
def test_a_run_in_its_own_process_goes_on_after_a_signal(number, status, tmp_path):
    words = ["method=sbcl", "budget.epoch_scale=0.5", "checkpoint.every_epochs=1"]
    calm = results(*execute(tiny(tmp_path / "calm", *words)))
    shaken = [*TINY, *words, f"output_dir={tmp_path / 'shaken'}"]
    process = subprocess.Popen([*HELD, *shaken], stderr=subprocess.PIPE, text=True, preexec_fn=hear_signals)
    saved = (tmp_path / "shaken").glob
    wait_for(lambda: list(saved("*/checkpoint.pt")) or process.poll() is not None)
    assert process.poll() is None
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == status
    if status == 130:
        assert "the same command goes on" in said
        states = [json.loads(path.read_text())["state"] for path in (tmp_path / "shaken").glob("*/status.json")]
        assert "interrupted" in states
    assert_identical(results(*execute(tiny(tmp_path / "shaken", *words))), calm)


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_writes_a_checkpoint(tmp_path):
    """As when a connection breaks: its progress bar can be written nowhere any more."""
    words = [*TINY, "method=sbcl", "budget.epoch_scale=0.5", "checkpoint.every_epochs=1", f"output_dir={tmp_path}"]
    pid, terminal = pty.fork()
    if not pid:
        hear_signals()
        os.execv(sys.executable, [*HELD, *words, "progress=true"])

    def saved():
        if select.select([terminal], [], [], 0)[0]:  # what it shows must be taken off, or it waits
            os.read(terminal, 4096)
        return list(tmp_path.glob("*/checkpoint.pt"))

    wait_for(saved)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    states = [json.loads(path.read_text())["state"] for path in tmp_path.glob("*/status.json")]
    assert set(states) == {"interrupted"}


@pytest.mark.slow
@pytest.mark.parametrize("words", [("method=sbcl", "stage_two=cb"), ("method=supcon", "stage_two=linear_probe")])
def test_two_processes_under_torchrun_make_one_record(words, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    launcher += ["--rdzv-endpoint=localhost:0"]
    command = [*launcher, "-m", "lt_bench", *TINY, f"output_dir={tmp_path}", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" on digits_lt") == 1
    assert {read_record(path).kind for path in tmp_path.glob("*/record.json")} == {"run", "stage_one"}


@pytest.mark.slow
def test_images_that_three_processes_leave_out_are_said_and_recorded(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=3", "-m", "lt_bench", *TINY]
    command += [f"output_dir={tmp_path}", "method=ce", "stage_two=cb", "train.batch_size=128"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("stage one: 4 of 405 images are left out of every epoch, because 3 processes") == 1
    costs = {record.kind: record.cost for record in map(read_record, tmp_path.glob("*/record.json"))}
    assert costs["stage_one"]["left_out_images"] == costs["run"]["stage_one_left_out_images"] == 4
    assert costs["run"]["left_out_images"] > 0


def test_a_batch_of_one_image_under_batch_norm_is_refused_with_what_to_set(tmp_path):
    with pytest.raises(UsageError, match="batch norm cannot train on a batch of one image.*; set train.batch_size=2$"):
        execute(tiny(tmp_path, "method=paco", "train.batch_size=1"))


def test_a_record_says_at_which_rate_and_by_which_rule_it_was_trained(tmp_path):
    words = ("method=ce", "stage_two=cb", "train.lr_scaling=linear", "train.lr_base_batch=64", "train.batch_size=128")
    config = tiny(tmp_path, *words)
    record, _ = execute(config)
    stage_two_lr = config.stage_two.train.lr
    assert record.environment["effective_lr"] == [2 * config.train.lr, stage_two_lr]
    assert record.environment["lr_scaling"] == ["linear", "none"]
    assert record.settings["train.lr_scaling"] == "linear" and record.settings["train.lr_base_batch"] == 64
