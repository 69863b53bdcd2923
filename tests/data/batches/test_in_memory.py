"""Small images on the device: batches, shards, both back ends, cached features."""

import pytest
import torch
from benchmarks.harness import HostReads, OpCount
from helpers.sampling import methods_for

from lt_bench.augment import pipeline
from lt_bench.augment.boosted import BoostedRandAugment
from lt_bench.augment.views import VIEWS, build_view, in_epoch
from lt_bench.config.compose import compose, groups
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import CachedFeatures, InMemoryImages
from lt_bench.data.batches.source import RankShare, SyncSource
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.partners import with_partners
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

DATASET = validate(compose(["dataset=cifar10_lt"])).dataset
IMAGES = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 7
CHOSEN = torch.tensor([3, 19, 0, 7, 7, 12])


def source():
    return InMemoryImages(IMAGES, LABELS, lambda view: build_view(view, DATASET))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_batch_has_a_tensor_per_view_with_labels_and_positions():
    batch = source().batch(CHOSEN, slice(0, 6), ("simclr", "simclr", "plain"), generator())
    assert [tuple(view.shape) for view in batch.views] == [(6, 3, 32, 32)] * 3
    assert torch.equal(batch.labels, LABELS[CHOSEN]) and torch.equal(batch.indices, CHOSEN)
    assert not torch.equal(batch.views[0], batch.views[1])  # fresh parameters for every view
    assert not torch.equal(batch.views[0][3], batch.views[0][4])  # and image: 7 twice
    mean, std = (torch.tensor(values)[:, None, None] for values in (DATASET.mean, DATASET.std))
    torch.testing.assert_close(batch.views[2], (IMAGES[CHOSEN] / 255 - mean) / std)


def test_shards_of_a_batch_are_the_batch():
    whole = source().batch(CHOSEN, slice(0, 6), ("simclr", "crop_flip"), generator())
    parts = [source().batch(CHOSEN, slice(k, k + 2), ("simclr", "crop_flip"), generator()) for k in (0, 2, 4)]
    for view in range(2):
        torch.testing.assert_close(torch.cat([part.views[view] for part in parts]), whole.views[view])
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)


def test_both_back_ends_give_the_same_images():
    grouped, branch_free = source(), source()
    branch_free._branch_free = True
    views = ("simclr", "crop_flip", "simclr_blur", "plain")
    batches = [one.batch(CHOSEN, slice(0, 6), views, generator()) for one in (grouped, branch_free)]
    for left, right in zip(batches[0].views, batches[1].views, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


STRENGTH = torch.linspace(0, 1, 20)


def watched(monkeypatch):
    """Every boost that is drawn with, and the parameters that are drawn."""
    seen, draw = [], BoostedRandAugment.draw

    def watching(self, count, generator, boost=None):
        params = draw(self, count, generator, boost)
        seen.append((boost, params))
        return params

    monkeypatch.setattr(BoostedRandAugment, "draw", watching)
    return seen


def test_both_views_of_an_image_share_weight_and_number_and_nothing_else(monkeypatch):
    seen = watched(monkeypatch)
    source().batch(CHOSEN, slice(0, 6), ("boosted_twice", "boosted_twice"), generator(), STRENGTH)
    (first, drawn), (second, others) = seen
    assert first is second
    assert torch.equal(first.weight, STRENGTH[CHOSEN]) and len(first.uniform.unique()) == 6
    assert torch.equal(drawn.strength, others.strength) and not torch.equal(drawn.row, others.row)


@pytest.mark.parametrize("branch_free", [False, True])
def test_shards_of_a_boosted_batch_are_the_batch(branch_free):
    one, views = source(), ("boosted", "boosted_twice")
    one._branch_free = branch_free
    whole = one.batch(CHOSEN, slice(0, 6), views, generator(), STRENGTH)
    parts = [one.batch(CHOSEN, slice(k, k + 3), views, generator(), STRENGTH) for k in (0, 3)]
    for view in range(2):
        torch.testing.assert_close(torch.cat([part.views[view] for part in parts]), whole.views[view])


def test_without_a_weight_a_boosted_view_is_the_self_supervised_one():
    boosted = source().batch(CHOSEN, slice(0, 6), ("boosted",), generator(3), torch.zeros(20)).views[0]
    random = generator(3)
    torch.rand(6, generator=random)  # the numbers that go with the strengths
    assert torch.equal(boosted, source().batch(CHOSEN, slice(0, 6), ("ssl",), random).views[0])
    full = source().batch(CHOSEN, slice(0, 6), ("boosted",), generator(3), torch.ones(20)).views[0]
    assert (full != boosted).flatten(1).any(1).sum() >= 5  # one operation may do nothing


def test_chunks_cover_the_positions_in_order():
    chunks = list(source().chunks("plain", CHOSEN, slice(None), 4, generator()))
    assert [len(chunk) for chunk in chunks] == [4, 2]
    whole = source().batch(CHOSEN, slice(0, 6), ("plain",), generator()).views[0]
    torch.testing.assert_close(torch.cat(chunks), whole)


def test_an_augmented_view_does_not_depend_on_chunks_and_ranks():
    whole = torch.cat(list(source().chunks("simclr", CHOSEN, slice(None), 100, generator())))
    parts = [*source().chunks("simclr", CHOSEN, slice(0, 3), 2, generator())]
    parts += [*source().chunks("simclr", CHOSEN, slice(3, 6), 2, generator())]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_cached_features_stand_in_for_images():
    features = torch.randn(20, 4)
    cached = CachedFeatures(features, LABELS)
    batch = cached.batch(CHOSEN, slice(2, 5), ("features",), generator())
    assert torch.equal(batch.views[0], features[CHOSEN[2:5]]) and torch.equal(batch.labels, LABELS[CHOSEN[2:5]])
    assert torch.equal(torch.cat(list(cached.chunks("plain", CHOSEN, slice(None), 4, generator()))), features[CHOSEN])


def steps_of(order, size):
    """The shares of an epoch of one process, the last one smaller."""
    starts = range(0, len(order), size)
    return [RankShare(step, slice(start, start + size), slice(0, size)) for step, start in enumerate(starts)]


@pytest.mark.parametrize("view", VIEWS)
def test_batches_that_are_made_together_are_those_of_each_step(view, monkeypatch):
    one, order, strength = source(), torch.randperm(20, generator=generator()), STRENGTH
    one._branch_free = True
    monkeypatch.setattr(pipeline, "BRANCH_FREE_VALUES", 3 * 4 * 3 * 32 * 32)  # three steps of four images at a time
    shares, views = steps_of(order, 4), (view, "plain")
    together = list(one.batches(order, shares, views, generator, strength))
    alone = list(SyncSource.batches(one, order, shares, views, generator, strength))
    resumed = list(one.batches(order, shares, views, generator, strength, first=2))
    for found, expected in ((together, alone), (resumed, alone[2:])):
        for left, right in zip(found, expected, strict=True):
            assert all(map(torch.equal, (*left.views, *left[1:3]), (*right.views, *right[1:3])))


@pytest.mark.parametrize("first", [0, 4])
def test_steps_are_made_with_the_same_others_whatever_is_left_out(first, monkeypatch):
    one, sizes, augment = source(), [], InMemoryImages._augment
    one._branch_free = True
    monkeypatch.setattr(pipeline, "BRANCH_FREE_VALUES", 3 * 4 * 3 * 32 * 32)

    def watched(self, mine, *rest):
        sizes.append(mine.tolist())
        return augment(self, mine, *rest)

    monkeypatch.setattr(InMemoryImages, "_augment", watched)
    list(one.batches(torch.arange(20), steps_of(range(20), 4), ("simclr",), generator, first=first))
    assert sizes == [[*range(12)], [*range(12, 20)]][first // 3 :]


def made_together(config, built, steps, monkeypatch):
    """Operations of the data of so many steps of two images that are made together, with what they are mixed with."""
    monkeypatch.setattr(pipeline, "BRANCH_FREE_VALUES", steps * 2 * 3 * 32 * 32)
    one = InMemoryImages(IMAGES, LABELS, lambda view: build_view(view, config.dataset))
    one._branch_free = True
    context, epoch = EngineContext(Processes(0, 1, IMAGES.device), 0, one), config.train.epochs // 2
    views = [in_epoch(view, epoch, config.train.epochs) for view in built.views]
    pipelines = [one.view(view) for view in views]
    order = torch.arange(2 * steps) % 20
    with HostReads() as reads, OpCount() as operations:
        if built.partner_exponent is None:
            made = one.batches(order, steps_of(order, 2), views, generator, built.strength())
        else:
            made = with_partners(
                one, (order, order.flip(0)), steps_of(order, 2), views, (generator,) * 2, lambda step: True, 0
            )
        ready = [built.mixed(batch, epoch, step, context) for step, batch in enumerate(made)]
    assert len(ready) == steps and len(pipelines) == len(ready[0].views) and not reads.found
    return operations.count


DATA_OF_STEPS = [*methods_for(), *(f"ce mixing={name}" for name in groups()["mixing"] if name != "none")]


@pytest.mark.parametrize("words", DATA_OF_STEPS)
def test_the_data_of_a_step_on_a_gpu_are_at_most_300_operations(words, monkeypatch):
    """Of as many steps as are made together; each one more has as many operations more, so that a few are counted."""
    config = validate(compose([*f"method={words}".split(), "dataset=cifar100_lt"]))
    built = build(config.method, "method", TinyEncoder(), TrainInfo(LABELS, 7, config.train.epochs))
    together = pipeline.BRANCH_FREE_VALUES // (config.train.batch_size * 3 * 32 * 32)  # of the recipe's batch
    few, more = (made_together(config, built, steps, monkeypatch) for steps in (3, 5))
    of_each = (more - few) / 2
    assert few - 3 * of_each + together * of_each <= 300 * together
