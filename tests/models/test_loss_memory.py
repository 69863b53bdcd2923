"""The memory of losses: the authors' values, the weights' laws, first visits, the correction, wrong settings."""

import math

import pytest
import torch
from benchmarks.harness import HostReads, OpCount
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near

from lt_bench.errors import SettingError
from lt_bench.models.loss_memory import LossMemory, boost_weights


def memory(count, momentum=0.97, batch_correction=False):
    return LossMemory(count, momentum, batch_correction).double()


def epochs(case):
    """The memory after every epoch of a case, with new weights."""
    losses, orders = case["losses"].double(), case["orders"].long()
    kept = memory(losses.shape[1], float(case["beta"]))
    for epoch_losses, order in zip(losses, orders, strict=True):
        for indices in order.split(int(case["batch_size"])):
            kept.update(indices, epoch_losses[indices])
        kept.renew_weights()
        yield kept


@pytest.mark.parametrize("name", ["c0", "c1"])
def test_memory_and_weights_are_the_authors(name):
    case = golden("boosted_cl_memory", name)
    for epoch, kept in enumerate(epochs(case)):
        assert_near(kept.losses, case["loss_memory"][epoch], 1e-7)
        assert_near(kept.weights, case["weights"][epoch], 1e-7)
    assert epoch == len(case["losses"]) - 1


@pytest.mark.parametrize("name", ["c0", "c1"])
def test_the_memory_of_a_whole_training_is_the_authors(name):
    case = golden("gh_prior_cifar", name)
    for epoch, kept in enumerate(epochs({**case, "beta": case["loss_beta"]})):
        assert_near(kept.losses, case["loss_memory"][epoch], 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_weights_lie_in_the_unit_interval_around_a_half_and_touch_an_end(scale, dtype):
    losses = 5 + scale * torch.rand(1000, dtype=dtype, generator=torch.Generator().manual_seed(0)) ** 3
    weights = boost_weights(losses, torch.ones(1000, dtype=torch.bool))
    assert 0 <= weights.min() and weights.max() <= 1
    assert min(weights.min(), 1 - weights.max()) < 1e-6
    assert abs(weights.double().mean() - 0.5) < (1e-6 if dtype == torch.float32 else 1e-14)
    assert (weights[losses.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 7.3, 1e30])
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_equal_losses_have_weights_of_exactly_a_half(value, count):
    weights = boost_weights(torch.full((count,), value), torch.ones(count, dtype=torch.bool))
    assert torch.equal(weights, torch.full((count,), 0.5))


def test_shift_and_scale_change_no_weight():
    losses = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    seen = torch.ones(50, dtype=torch.bool)
    torch.testing.assert_close(boost_weights(3 * losses - 8, seen), boost_weights(losses, seen))
    # with the division by the standard deviation that the authors' code has
    standard = (losses - losses.mean()) / losses.std()
    torch.testing.assert_close(boost_weights(losses, seen), 0.5 + 0.5 * standard / standard.abs().max())


def test_images_without_a_loss_stand_in_the_middle():
    losses, seen = torch.tensor([1.0, 9.0, 3.0, 0.0, 2.0]), torch.tensor([True, False, True, False, True])
    weights = boost_weights(losses, seen)
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5]))
    assert torch.equal(boost_weights(losses, torch.zeros(5, dtype=torch.bool)), torch.full((5,), 0.5))


def test_the_first_loss_is_taken_as_it_is_and_later_ones_move_it():
    kept = memory(4, 0.75)
    assert not kept.weights.any()
    kept.update(torch.tensor([2, 0]), torch.tensor([8.0, 4.0]))
    assert kept.losses.tolist() == [4, 0, 8, 0] and kept.seen.tolist() == [True, False, True, False]
    kept.update(torch.tensor([1, 2]), torch.tensor([5.0, 4.0]))
    assert kept.losses.tolist() == [4, 5, 7, 0]
    assert not kept.weights.any()  # until they are renewed


def test_the_correction_takes_away_what_the_size_of_the_batch_adds():
    """Losses of chance level in batches of all sizes become equal."""
    kept = memory(21, batch_correction=True)
    for size, first in ((1, 0), (4, 1), (16, 5)):
        kept.update(torch.arange(first, first + size), torch.full((size,), math.log(2 * size - 1), dtype=torch.float64))
    assert_near(kept.losses, torch.zeros(21), 1e-12)
    plain = memory(21)
    plain.update(torch.arange(4), torch.full((4,), 2.0))
    kept.update(torch.arange(17), torch.full((17,), 2.0))
    assert plain.losses[0] == 2
    assert_near(kept.losses[:17], torch.full((17,), 0.03 * (2 - math.log(33)), dtype=torch.float64), 1e-12)


def test_an_update_is_a_few_kernels_whatever_the_batch_and_reads_nothing():
    counts = []
    for size in (2, 200):
        kept = LossMemory(300, 0.97, True)
        with HostReads() as reads, OpCount() as kernels:
            kept.update(torch.arange(size), torch.ones(size))
            kept.renew_weights()
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1] < 40


def test_the_whole_state_is_in_buffers():
    assert LossMemory(3, 0.97, True).state_dict().keys() == {"losses", "seen", "weights"}


@pytest.mark.parametrize("momentum", [-0.1, 1.0, math.nan])
def test_a_wrong_momentum_is_refused(momentum):
    with pytest.raises(SettingError, match="momentum is at least 0 and below 1"):
        LossMemory(3, momentum, True)
