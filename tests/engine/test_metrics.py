"""Running means without host reads."""

import pytest
import torch
from benchmarks.harness import HostReads

from lt_bench.engine.metrics import RunningMeans
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
