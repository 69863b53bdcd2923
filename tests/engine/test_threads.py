"""The threads of a stage: what is given is obeyed, else the size of the network and what is free decide."""

import time
from types import SimpleNamespace

import pytest
import torch
from helpers.chain import Killed, assert_identical, execute, kill_after, results, tiny
from torch import nn

from lt_bench.engine import checkpoint, threads
from lt_bench.engine.threads import choose, layer_size
from lt_bench.machine import waiting
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.models.tiny import TinyEncoder
from lt_bench.run.stages import Runner

CPU = torch.device("cpu")
TINY_LAYER = (64 * 16 * 27 + 16 * 32 * 144 + 4 * 64 * 288) / 3  # three convolutions of 8 x 8 pixels, by hand


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    """Nothing is given, and eight cores are there; the threads of this process are afterwards what they were."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "share_of_cores", lambda launch: 8)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def others(free):
    """Other processes that leave some cores free."""
    return SimpleNamespace(free_cores=lambda: free)


def test_multiply_adds_of_a_layer():
    net = TinyEncoder()
    assert layer_size(net, 8) == pytest.approx(TINY_LAYER)
    assert net.training and not any(part._forward_hooks for part in net.modules())
    assert layer_size(resnet32_cifar(), 32) == pytest.approx(68.86e6 / 31, rel=1e-3)  # He et al., 2016: 69 M in all
    assert layer_size(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), 2) == 60


def test_a_network_without_such_layers_counts_by_its_parameters():
    assert layer_size(nn.Sequential(nn.BatchNorm2d(3)), 2) == 6


@pytest.mark.parametrize(
    ("images", "free", "number", "reason"),
    [
        (1, 8.0, 1, "tiny network"),
        (256, 8.0, 1, "tiny network"),  # two views of the digits run
        (512, 8.0, 2, "size of the network"),
        (512, None, 2, "size of the network"),
        (5120, 7.9, 8, "8 cores"),
        (5120, 5.4, 5, "others use 2.6 of 8 cores"),
        (8192, 1.2, 2, "others use 6.8 of 8 cores"),  # worth two that have to wait for their cores
        (512, 2.6, 2, "size of the network"),
        (512, 0.3, 1, "others use 7.7 of 8 cores"),
    ],
)
def test_size_and_what_is_free_decide(images, free, number, reason, tmp_path):
    assert choose(tiny(tmp_path), TinyEncoder(), images, CPU, others(free), None) == (number, reason)


def test_what_is_given_is_obeyed(tmp_path, monkeypatch):
    def chosen(*words, kept=None, device=CPU):
        return choose(tiny(tmp_path, *words), TinyEncoder(), 5120, device, others(8.0), kept)

    assert chosen(device=torch.device("cuda")) == (1, "the GPU computes")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert chosen() == (3, "OMP_NUM_THREADS=3")
    assert chosen("threads=5") == (5, "threads=5")
    assert chosen("threads=9") == (9, "threads=9, though there are only 8 cores for it")
    assert chosen("threads=5", kept=2) == (2, "as this stage was started with")
    assert chosen(kept=9) == (9, "as this stage was started with, though there are only 8 cores for it")


def test_a_resumed_stage_keeps_its_threads(tmp_path, monkeypatch, capsys):
    """Whatever is asked for then; so does the stage after it. Both stand in the record."""
    words = ("method=ce", "stage_two=cb", "checkpoint.every_steps=1", "budget.max_steps_per_epoch=3")
    expected = results(*execute(tiny(tmp_path / "undisturbed", *words, "threads=2")))
    with monkeypatch.context() as patch, pytest.raises(Killed, match="stage one"):
        kill_after(patch, 2)
        execute(tiny(tmp_path / "killed", *words, "threads=2"))
    assert f"stage one: threads 2 (threads=2); {waiting()}\n" in capsys.readouterr().out
    record, folder = execute(tiny(tmp_path / "killed", *words, "threads=1"))
    assert_identical(results(record, folder), expected)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in said] == ["stage one: threads 2 (as this stage was started with)"]
    assert (record.environment["threads"], record.environment["stage_one_threads"]) == (2, 2)


@pytest.mark.parametrize(
    ("first", "after"), [("threads=2", "stage one"), (None, "stage one"), ("threads=2", "the first step")]
)
def test_a_stage_two_that_begins_after_a_kill_has_the_threads_that_its_run_began_with(
    first, after, tmp_path, monkeypatch, capsys
):
    """Also where stage one was done when it was killed; not where nothing was left of it, and another run asks anew."""
    words = ["method=ce", "checkpoint.every_steps=1", "budget.max_steps_per_epoch=3"]
    begun = [*words, "stage_two=cb", *([first] if first else [])]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        if after == "stage one":
            patch.setattr(Runner, "stage_two", killed)
        else:
            kill_after(patch, 1)
        execute(tiny(tmp_path, *begun))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    capsys.readouterr()
    record, _ = execute(tiny(tmp_path, *words, "stage_two=cb", "threads=3"))
    lines = [line.partition(";")[0] for line in capsys.readouterr().out.splitlines()]
    if after == "the first step":  # before it was saved
        assert lines == ["stage one: threads 3 (threads=3)"]
    else:
        kept = "threads 2 (as this run was started with)" if first else "threads 1 (tiny network)"
        assert lines == [f"stage two: {kept}"]
    execute(tiny(tmp_path, *words, "stage_two=lws", "threads=4"))
    assert "stage two: threads 4 (threads=4)" in capsys.readouterr().out


def killed(*words):
    raise Killed


def test_work_during_stage_one_is_not_that_of_others_in_stage_two(tmp_path, monkeypatch):
    """Where images are read by processes of the run's own, they would be taken for others'."""
    seen, train = [], Runner._train

    def choosing(config, encoder, images, device, others, kept, asked):
        seen.append(others._start.wall)
        return threads.Threads(1, "")

    def timed(self, *words):
        trained = train(self, *words)
        seen.append(time.monotonic())
        return trained

    monkeypatch.setattr(threads, "choose", choosing)
    monkeypatch.setattr(Runner, "_train", timed)
    execute(tiny(tmp_path, "method=ce", "stage_two=cb"))
    before, end_of_stage_one, after, _ = seen
    assert before < end_of_stage_one <= after


def test_a_checkpoint_that_does_not_name_its_threads_is_resumed(tmp_path, monkeypatch):
    config = tiny(tmp_path, "method=ce", "stage_two=none", "checkpoint.every_steps=1", "threads=2")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 2)
        execute(config)
    (path,) = tmp_path.glob("*/checkpoint.pt")
    state = checkpoint.load(path, CPU)
    assert state.pop("threads") == 2
    checkpoint.save(path, state)
    assert checkpoint.threads(path) is None and checkpoint.threads(path.with_name("other.pt")) is None
    assert execute(config)[0].environment["threads"] == 2
