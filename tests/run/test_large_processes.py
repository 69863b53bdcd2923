"""Every data set of files on two processes: a run that is killed or stopped ends as the undisturbed one."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers import image_trees
from helpers.chain import assert_identical, execute, killed_until_done, results, tiny
from helpers.two_processes import on_two

from lt_bench.engine import loop
from lt_bench.errors import Interrupted

pytestmark = pytest.mark.slow

TRAINING = ["train.epochs=3", "train.batch_size=16", "stage_two.train.batch_size=16", "stage_two.train.epochs=2"]
INTERVALS = ["checkpoint.every_steps=2", "budget.max_steps_per_epoch=3"]


@dataclass
class KilledAndUndisturbed:
    """Both runs on this rank, compared; how often the first was killed, and the processes of both."""

    root: Path
    dataset: str

    def __call__(self, processes, folder):
        words = [*image_trees.overrides(self.root, self.dataset), "method=ce", "stage_two=cb"]
        words += [*TRAINING, *INTERVALS]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", str(dist.get_world_size()))
            patch.setenv("RANK", str(processes.rank))
            undisturbed = execute(tiny(folder / "undisturbed", *words))
            # inside the epoch: two steps are saved, the third is lost
            deaths, killed = killed_until_done(tiny(folder / "killed", *words), patch, steps=3)
        assert_identical(results(*killed), results(*undisturbed))
        return len(deaths), [outcome[0].environment["processes"] for outcome in (killed, undisturbed)]


@pytest.mark.parametrize("dataset", ["imagenet_lt", "places_lt", "inat18", "imagenet", "image_folder"])
def test_killed_on_two_processes_ends_as_if_undisturbed(dataset, tmp_path):
    root = image_trees.tree(tmp_path / "data", dataset)
    for deaths, processes in on_two(KilledAndUndisturbed(root, dataset)):
        assert deaths >= 2 and processes == [2, 2]


def terminate_in_the_first_step(patch):
    """A SIGTERM reaches this process and its workers, as a scheduler's does, while a step is taken."""
    step = loop.Trainer._step
    sent = []

    def terminated(self, *words):
        if not sent:
            sent.extend([os.getpid(), *(worker.pid for worker in multiprocessing.active_children())])
            for process in sent:
                os.kill(process, signal.SIGTERM)
        return step(self, *words)

    patch.setattr(loop.Trainer, "_step", terminated)


@dataclass
class StoppedAndUndisturbed:
    """Both runs on this rank, compared; where the first stood each time that the second rank was told to stop."""

    root: Path

    def __call__(self, processes, folder):
        words = [*image_trees.overrides(self.root), "method=bcl", "stage_two=cb", *TRAINING]
        words.append("budget.max_steps_per_epoch=3")
        stopped, stood = [*words, "dataset.workers=2"], []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", str(dist.get_world_size()))
            patch.setenv("RANK", str(processes.rank))
            patch.setattr(loop, "LOG_EVERY_STEPS", 2)  # inside an epoch, processes agree as often as the loss is read
            undisturbed = execute(tiny(folder / "undisturbed", *words))
            for _ in range(3):
                with pytest.MonkeyPatch.context() as once:
                    if processes.rank == 1:
                        terminate_in_the_first_step(once)
                    with pytest.raises(Interrupted):
                        execute(tiny(folder / "stopped", *stopped))
                dist.barrier()  # the first rank has written what the second may look at
                [path] = (folder / "stopped").glob("*/checkpoint.pt")
                position = torch.load(path, weights_only=True)["position"]
                stood.append((position["epoch"], position["step"]))
            ended = execute(tiny(folder / "stopped", *stopped))
        assert_identical(results(*ended), results(*undisturbed))
        return stood


def test_stopped_on_two_processes_and_gone_on_with_workers_ends_as_if_undisturbed(tmp_path):
    found = on_two(StoppedAndUndisturbed(image_trees.tree(tmp_path / "data", "imagenet_lt")))
    assert found == [[(0, 2), (1, 0), (1, 2)]] * 2
