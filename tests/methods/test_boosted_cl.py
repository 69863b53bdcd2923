"""Boosted contrastive learning: what a step remembers, when strengths change, what the images get, two processes."""

import pytest
import torch
from helpers.engine_parts import CPU, Constant, FixedBatches, Vectors, one_process, stage, training
from helpers.two_processes import on_two
from torch import nn

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.data.batches.source import SyncSource
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.errors import UsageError, keyed
from lt_bench.losses.simclr import nt_xent
from lt_bench.methods.boosted_cl import BoostedCL
from lt_bench.models.loss_memory import boost_weights
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

LABELS = torch.zeros(12, dtype=torch.int64)
VIEWS = torch.randn(2, 12, 6, generator=torch.Generator().manual_seed(0))


def built(**settings):
    torch.manual_seed(0)
    return BoostedCL(Vectors(), TrainInfo(LABELS, 1, 3), projection_dim=5, **settings)


def batch(*indices):
    chosen = torch.tensor(indices)
    return Batch(tuple(VIEWS[:, chosen]), LABELS[chosen], chosen)


def test_the_loss_is_simclrs_and_each_image_keeps_its_own():
    method, given = built(loss_memory_batch_correction=False), batch(3, 0, 7, 8)
    expected = nt_xent(*built().embed_views(given), 0.2)
    found = method(given, 0, 0, one_process(FixedBatches([given])))
    torch.testing.assert_close(found["loss"], expected.mean())
    torch.testing.assert_close(method.loss_memory.losses[given.indices], expected.detach())
    assert method.loss_memory.seen.nonzero().flatten().tolist() == [0, 3, 7, 8]
    assert found["loss"].requires_grad and not method.loss_memory.losses.requires_grad


def test_two_views_are_wanted_that_are_boosted():
    with (
        pytest.raises(UsageError, match=r"a list of two views, not .*; set method.views=\[boosted,boosted\]"),
        keyed("method"),
    ):
        built(views=("boosted",))
    for name in ("boosted_cl", "boosted_sdclr"):
        with pytest.raises(
            UsageError, match=rf"method={name} boosts no view of these; set method.views=\[boosted,boos"
        ):
            validate(compose([f"method={name}", "method.views=[ssl,ssl_bilinear]"]))
    assert validate(compose(["method=boosted_cl", "method.views=[ssl,simclr_boosted]"]))


def test_strengths_change_at_the_start_of_an_epoch_alone():
    method, given = built(), batch(*range(12))
    run = one_process(FixedBatches([given]))
    for epoch in range(3):
        method.on_epoch_start(epoch, run)
        before = method.strength().clone()
        if epoch:
            memory = method.loss_memory
            torch.testing.assert_close(before, boost_weights(memory.losses, memory.seen))
            assert 0 <= before.min() and before.max() <= 1 and abs(before.mean() - 0.5) < 1e-6
        else:
            assert not before.any()
        method(given, epoch, 0, run)
        assert torch.equal(method.strength(), before)


def test_images_of_a_small_last_batch_do_not_count_as_easy():
    behind = {}
    for corrected in (False, True):
        method = built(loss_memory_batch_correction=corrected, temperature=2.0)
        run = one_process(FixedBatches([batch(0)]))
        method(batch(*range(9)), 0, 0, run)
        method(batch(9, 10, 11), 0, 1, run)
        method.on_epoch_start(1, run)
        behind[corrected] = float(method.strength()[:9].mean() - method.strength()[9:].mean())
    assert behind[False] > 0.3 > abs(behind[True]) + 0.15


# the engine, on images


DIGITS = validate(compose(["method=boosted_cl"])).dataset
IMAGES = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class Pictures(nn.Module):
    """An encoder of images, without batch norm, so that a batch may be shared out without a difference."""

    feature_dim = 8

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3))


class Doubles(SyncSource):
    """The images in double precision, and the strengths that they were asked for with."""

    labels = LABELS

    def __init__(self):
        self.images, self.strengths = InMemoryImages(IMAGES, LABELS, lambda view: build_view(view, DIGITS)), []

    def batch(self, indices, rows, views, generator, strength=None):
        self.strengths.append(strength.clone())
        found = self.images.batch(indices, rows, views, generator, strength.float())
        return found._replace(views=tuple(view.double() for view in found.views))


def trainer(processes, folder, views=("boosted", "boosted"), epochs=3, **intervals):
    torch.manual_seed(0)
    method = BoostedCL(Pictures(), TrainInfo(LABELS, 1, epochs), views=views)
    method.head = nn.Linear(8, 5)
    method.double()
    folder.mkdir(parents=True, exist_ok=True)
    source = Doubles()
    run = EngineContext(processes, 3, source)
    return Trainer(method, source, training(epochs, 8), Constant(0.1), run, stage(folder, **intervals))


def trained(processes, folder, **settings):
    one = trainer(processes, folder, **settings)
    one.fit()
    return {name: value.clone() for name, value in one.method.state_dict().items()}


ALONE = Processes(0, 1, CPU)


def test_every_epoch_augments_with_the_weights_of_the_one_before(tmp_path):
    one = trainer(ALONE, tmp_path)
    one.fit()
    strengths = one.source.strengths
    assert len(strengths) == 6 and not strengths[0].any() and not strengths[1].any()
    for first in (2, 4):
        assert torch.equal(strengths[first], strengths[first + 1])
        assert strengths[first].std() > 0.1 and abs(strengths[first].mean() - 0.5) < 1e-9
    assert not torch.equal(strengths[2], strengths[4])


class Fixed(Doubles):
    """Images under a strength that is always the same, whatever the method says; it keeps the first batch's views."""

    def __init__(self, strength):
        super().__init__()
        self.strength, self.first = strength, None

    def batch(self, indices, rows, views, generator, strength=None):
        found = super().batch(indices, rows, views, generator, torch.full_like(strength, self.strength))
        self.first = self.first or found.views
        return found


def test_strengths_reach_the_images(tmp_path):
    def first(views, strength):
        one = trainer(ALONE, tmp_path / f"{views[0]}{strength}", views, epochs=1)
        one.source = Fixed(strength)
        one.fit()
        return one.source.first

    boosted, plain = ("boosted", "boosted"), ("ssl", "ssl")
    still, strong, ssl = first(boosted, 0.0), first(boosted, 1.0), first(plain, 0.0)
    # one operation may do nothing; numbers are drawn for it, so that only the first view's crops are those of ssl
    assert all((weak != full).flatten(1).any(1).sum() >= 5 for weak, full in zip(still, strong, strict=True))
    assert torch.equal(still[0], ssl[0])


def test_killed_inside_an_epoch_and_resumed_ends_with_the_same_bits(tmp_path):
    whole = trained(ALONE, tmp_path / "whole")
    one = trainer(ALONE, tmp_path / "killed", every_steps=1)
    step = one._step

    def dying(order, epoch, number, *words):
        if (epoch, number) == (1, 1):
            raise KeyboardInterrupt
        return step(order, epoch, number, *words)

    one._step = dying
    with pytest.raises(KeyboardInterrupt):
        one.fit()
    resumed = trained(ALONE, tmp_path / "killed")
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def task(processes, folder):
    return trained(processes, folder / str(processes.rank))


@pytest.mark.slow
def test_two_processes_keep_the_same_memory_and_train_as_one(tmp_path):
    alone, both = trained(ALONE, tmp_path), on_two(task)
    for name, value in alone.items():
        assert torch.equal(both[0][name], both[1][name]), name
        torch.testing.assert_close(both[0][name], value, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["boosted_cl", "boosted_cl_gh"])
def test_the_config_builds_it_with_the_published_values(name):
    config = validate(compose([f"method={name}", "recipe=none"]))
    method = build(config.method, "method", Vectors(), TrainInfo(LABELS, 1, 3))
    assert isinstance(method, BoostedCL) and method.views == ("boosted", "boosted")
    assert (method.loss_memory.momentum, method.loss_memory.batch_correction) == (0.97, True)
    assert (method.harmonization is not None) == name.endswith("_gh")
