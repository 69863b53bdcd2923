"""LIFT+: its view of every epoch reaches the batches, also of a run that was killed and goes on."""

from itertools import groupby

import pytest
from helpers import image_trees
from helpers.chain import assert_identical, killed_until_done, results, tiny

from lt_bench.augment.described import written
from lt_bench.augment.views import in_epoch
from lt_bench.data.batches.from_disk import DiskImages
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.run.execute import execute

WORDS = ("method=lift_plus", "stage_two=none", "train.epochs=3", "checkpoint.every_steps=1")


@pytest.mark.parametrize("source", [InMemoryImages, DiskImages])
def test_views_grow_with_the_epoch_also_where_a_run_goes_on(source, tmp_path, monkeypatch):
    seen, batches, words = [], source.batches, [*WORDS]
    if source is DiskImages:
        root = image_trees.tree(tmp_path / "data", "image_folder")
        words += [*image_trees.overrides(root, "image_folder"), "method.finetune.kind=full", "train.batch_size=16"]
        words += ["evaluation.views=single", "evaluation.expand=null"]  # the images are too small for five crops

    def watched(self, order, shares, views, *rest):
        seen.append([written(view) for view in views])
        return batches(self, order, shares, views, *rest)

    monkeypatch.setattr(source, "batches", watched)
    whole = results(*execute(tiny(tmp_path / "whole", *words)))
    expected = [[written(in_epoch("lift_plus", epoch, 3))] for epoch in range(3)]
    assert seen == expected
    seen.clear()
    killed, parts = killed_until_done(tiny(tmp_path / "killed", *words), monkeypatch)
    assert killed and [views for views, _ in groupby(seen)] == expected
    assert_identical(results(*parts), whole)
