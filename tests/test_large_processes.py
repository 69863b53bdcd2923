"""Every data set of files on two processes: a run that is killed again and again ends as the undisturbed one."""

from dataclasses import dataclass
from pathlib import Path

import image_trees
import pytest
import torch.distributed as dist
from chain import Killed, assert_identical, execute, kill_after, results, tiny
from two_processes import on_two

pytestmark = pytest.mark.slow


@dataclass
class KilledAndUndisturbed:
    """Both runs on this rank, compared; how often the first was killed, and the processes of both."""

    root: Path
    dataset: str

    def __call__(self, processes, folder):
        words = [*image_trees.words(self.root, self.dataset), "method=ce", "stage_two=cb", "train.epochs=3"]
        words += ["train.batch_size=16", "stage_two.train.batch_size=16", "stage_two.train.epochs=2"]
        words += ["backbone.pretrained=null", "backbone.trainable_convolutions=null"]
        words += ["checkpoint.every_steps=2", "budget.max_steps_per_epoch=3"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", str(dist.get_world_size()))
            undisturbed = execute(tiny(folder / "undisturbed", *words))
            deaths, killed = 0, None
            while killed is None:
                with pytest.MonkeyPatch.context() as death:
                    kill_after(death, 3)  # inside the epoch: two steps are saved, the third is lost
                    try:
                        killed = execute(tiny(folder / "killed", *words))
                    except Killed:
                        deaths += 1
        assert_identical(results(*killed), results(*undisturbed))
        return deaths, [outcome[0].environment["processes"] for outcome in (killed, undisturbed)]


@pytest.mark.parametrize("dataset", ["imagenet_lt", "places_lt", "inat18", "imagenet", "image_folder"])
def test_killed_on_two_processes_ends_as_if_undisturbed(dataset, tmp_path):
    root = image_trees.tree(tmp_path / "data", dataset)
    for deaths, processes in on_two(KilledAndUndisturbed(root, dataset)):
        assert deaths >= 2 and processes == [2, 2]
