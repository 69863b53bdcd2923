"""TensorBoard, W&B and MLflow themselves: what they keep of a run that goes on is there once, and can be read back."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from urllib.request import urlopen

import pytest
from helpers.chain import killed_until_done, tiny
from helpers.command_line import wait_for
from matplotlib.figure import Figure

from lt_bench.errors import SettingError
from lt_bench.run.execute import execute
from lt_bench.trackers.contract import Epoch, Place, final_values
from lt_bench.trackers.mlflow import MLflow
from lt_bench.trackers.tensorboard import TensorBoard

KEY = "0123abcd"
HERE = [name for name in ("tensorboard", "wandb", "mlflow") if find_spec(name)]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return execute(tiny(tmp_path_factory.mktemp("run"), "method=ce", "stage_two=none"))[0]


def told(tracker, record, steps, end):
    """Tell a tracker some epochs and, where it is the end, a figure and the metrics."""
    tracker.start({"train.lr": 0.1, "dataset.mean": [0.5, 0.5, 0.5], "method.name": "ce"}, record)
    for step in steps:
        tracker.scalars("stage_one", step, {"loss": 1.0 / (step + 1), "lr": 0.1}, step)
    if end:
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1])
        tracker.figure("curve", figure)
        tracker.finish(record)


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    tags = found.Tags()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in tags["scalars"]}, tags


def read_mlflow(folder, monkeypatch):
    """The only run in a store, and the values of its metrics by step."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    client = MlflowClient(folder.absolute().as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("lt_bench").experiment_id])
    names = run.data.metrics
    values = {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in names}
    return run, values, [one.path for one in client.list_artifacts(run.info.run_id, "figures")]


def test_tensorboard_has_every_step_once_after_a_kill(tmp_path, record):
    pytest.importorskip("tensorboard", reason="pip install 'lt_bench[tensorboard]'")
    told(TensorBoard(Place(tmp_path / "run", tmp_path, KEY, 0)), record, range(4), end=False)  # killed: it noted two
    told(TensorBoard(Place(tmp_path / "run", tmp_path, KEY, 2)), record, range(2, 6), end=True)
    values, tags = read_tensorboard(tmp_path / "run" / "tensorboard")
    assert [step for step, _ in values["stage_one/loss"]] == [*range(6)]
    assert {name: values[name][0][1] for name in final_values(record)} == pytest.approx(final_values(record))
    assert tags["images"] == ["figures/curve"] and "config/text_summary" in tags["tensors"]


def test_tensorboard_writes_below_another_folder(tmp_path, record):
    pytest.importorskip("tensorboard", reason="pip install 'lt_bench[tensorboard]'")
    told(TensorBoard(Place(tmp_path / "run", tmp_path, KEY, 0), folder=str(tmp_path / "a")), record, [0], end=True)
    assert list(read_tensorboard(tmp_path / "a" / "run")[0]["stage_one/lr"]) == [(0, pytest.approx(0.1))]


@pytest.mark.slow
def test_mlflow_has_one_run_with_every_step_once_after_a_kill(tmp_path, record, monkeypatch):
    pytest.importorskip("mlflow", reason="pip install 'lt_bench[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    told(MLflow(Place(tmp_path / "run", tmp_path, KEY, 0)), record, range(4), end=False)
    told(MLflow(Place(tmp_path / "run", tmp_path, KEY, 2)), record, range(2, 6), end=True)
    run, values, figures = read_mlflow(tmp_path / "mlflow", monkeypatch)
    assert values["stage_one/loss"] == [(step, 1.0 / (step + 1)) for step in range(6)]
    assert {name: values[name][0][1] for name in final_values(record)} == final_values(record)
    assert (run.info.status, figures) == ("FINISHED", ["figures/curve.png"])
    assert run.data.params["train.lr"] == "0.1" and run.data.tags["run"] == record.run_id


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="pip install 'lt_bench[tensorboard,wandb,mlflow]'")
def test_a_run_that_is_killed_goes_on_in_the_same_run_of_every_tracker(tmp_path, monkeypatch, capsys):
    secret = "0123456789" * 4
    monkeypatch.setenv("WANDB_API_KEY", secret)
    words = (f"tracker=[{','.join(HERE)}]", "method=ce", "stage_two=cb", "checkpoint.every_epochs=2")
    config = tiny(tmp_path, *words)
    killed, (record, folder) = killed_until_done(config, monkeypatch, steps=7)
    assert killed and "is dropped" not in capsys.readouterr().err
    steps = [*range(config.train.epochs + config.stage_two.train.epochs)]
    if "tensorboard" in HERE:
        values, tags = read_tensorboard(folder / "tensorboard")
        assert [step for part in ("one", "two") for step, _ in values[f"stage_{part}/lr"]] == steps
        assert len(tags["images"]) == 3
    if "mlflow" in HERE:
        run, values, figures = read_mlflow(tmp_path / "mlflow", monkeypatch)
        assert [step for part in ("one", "two") for step, _ in values[f"stage_{part}/lr"]] == steps
        assert (run.info.status, len(figures)) == ("FINISHED", 3)
    if "wandb" in HERE:
        files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
        assert len(files) >= 2 and len({path.name for path in files}) == 1
        rows = [row for path in files for row in read_wandb(path)]
        assert [row["_step"] for row in rows if {"stage_one/lr", "stage_two/lr"} & row.keys()] == steps
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert secret.encode() not in path.read_bytes(), path
    assert record.run_id == folder.name


@pytest.fixture
def server(tmp_path):
    """The address of a tracking server of MLflow on this machine, and its process, in a session of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [f"--backend-store-uri=sqlite:///{tmp_path}/mlflow.db", f"--artifacts-destination={tmp_path}/artifacts"]
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", *places]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=tmp_path)
    yield f"http://127.0.0.1:{port}", process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(address):
    with suppress(OSError), urlopen(f"{address}/health", timeout=5) as answer:
        return answer.status == 200


@pytest.mark.slow
def test_a_server_of_mlflow_has_every_step_and_one_that_is_gone_is_an_error(tmp_path, record, server, monkeypatch):
    pytest.importorskip("mlflow", reason="pip install 'lt_bench[mlflow]'")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    address, process = server
    wait_for(lambda: answers(address), 300)
    tracker = MLflow(Place(tmp_path / "run", tmp_path, KEY, 0), server=address)
    told(tracker, record, range(3), end=False)
    tracker.several([Epoch("stage_one", step, {"loss": 1.0 / (step + 1), "lr": 0.1}, step) for step in range(100)])
    client = MlflowClient(address)
    history = client.get_metric_history(tracker.run_id, "stage_one/loss")
    assert sorted((one.step, one.value) for one in history) == [(step, 1.0 / (step + 1)) for step in range(100)]
    os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(MlflowException, match="Max retries exceeded"):
        tracker.scalars("stage_one", 100, {"loss": 0.1}, 100)


def read_wandb(path):
    """The rows of history in a file of W&B, which is framed as a log of LevelDB: blocks of 32 KiB, parts of records."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record, rows = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if 2**15 - place % 2**15 < 7:
            place += 2**15 - place % 2**15
        if kind in (1, 4):  # whole, or the last part
            one, record = Record.FromString(record), b""
            if one.WhichOneof("record_type") == "history":
                items = one.history.item
                rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


@pytest.mark.parametrize("server", ["banana", "localhost:5000", ""])
def test_a_server_of_mlflow_is_an_address(server, tmp_path):
    with pytest.raises(SettingError) as refused:
        MLflow(Place(tmp_path, tmp_path, "key", 0), server=server)
    said = f"tracker.mlflow.server is an address, not {server!r}; set tracker.mlflow.server=http://localhost:5000"
    assert str(refused.value.under("tracker.mlflow")) == said
    assert MLflow(Place(tmp_path, tmp_path, "key", 0), server="databricks").server == "databricks"
