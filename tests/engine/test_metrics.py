"""Running means without host reads, and metrics.jsonl."""

import json

import pytest
import torch
from benchmarks.harness import HostReads

from lt_bench.engine.metrics import MetricsFile, RunningMeans
from lt_bench.errors import NonFiniteLoss


def test_means_and_the_first_bad_step_without_a_host_read():
    means = RunningMeans(torch.device("cpu"))
    with HostReads() as reads:
        for step, loss in enumerate((1.0, 2.0, float("inf"), float("nan"))):
            means.add({"loss": torch.tensor(loss), "other": torch.tensor(step, dtype=torch.float32)}, step)
    assert reads.found == []
    assert means.means()["other"] == 1.5
    with pytest.raises(NonFiniteLoss, match="epoch 4, step 2"):
        means.check(4)
    means.clear()
    means.check(5)
    assert means.means() == {}


def test_state_continues_inside_an_epoch():
    means, again = (RunningMeans(torch.device("cpu")) for _ in range(2))
    means.add({"loss": torch.tensor(1.0)}, 0)
    again.restore(means.state())
    for one in (means, again):
        one.add({"loss": torch.tensor(4.0)}, 1)
    assert again.means() == means.means() == {"loss": 2.5}


def test_a_resumed_stage_drops_lines_that_it_writes_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first, second = MetricsFile(path, "stage one", 0), MetricsFile(path, "stage two", 0)
    for epoch in range(3):
        first.write(epoch, {"loss": epoch})
    second.write(0, {"loss": 9})
    path.write_text(path.read_text() + '{"stage": "stage one", "ep')  # killed while it wrote
    resumed = MetricsFile(path, "stage one", 1)
    resumed.write(1, {"loss": 7})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["stage"], row["epoch"], row["loss"]) for row in rows] == [
        ("stage one", 0, 0),
        ("stage two", 0, 9),
        ("stage one", 1, 7),
    ]


def test_other_ranks_write_nothing(tmp_path):
    MetricsFile(tmp_path / "metrics.jsonl", "stage one", 0, writes=False).write(0, {"loss": 1.0})
    assert not (tmp_path / "metrics.jsonl").exists()
