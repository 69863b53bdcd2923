"""Steps of operations on a batch: both ways of applying them, images left alone, rounding, host reads and kernels."""

import pytest
import torch
from benchmarks.harness import HostReads, OpCount
from helpers.pil_operations import sample_images

from lt_bench.augment import operations
from lt_bench.augment.affine import BICUBIC, BILINEAR, NEAREST
from lt_bench.augment.operations import Operation, Step, apply_branch_free, apply_grouped, constant, steps_of

FILL = (124, 116, 104)
RESAMPLINGS = (NEAREST, BILINEAR, BICUBIC)
# a strength that suits the operation
STRENGTH = {
    Operation.POSTERIZE: 4,
    Operation.SOLARIZE: 100,
    Operation.SOLARIZE_ADD: 60,
    Operation.ROTATE: -20,
    **dict.fromkeys(range(Operation.BRIGHTNESS, Operation.ROTATE), 1.6),
    **dict.fromkeys(range(Operation.SHEAR_X, len(Operation)), 0.21),
}


def random_steps(count, slots, seed=0):
    generator = torch.Generator().manual_seed(seed)
    operation = torch.randint(len(Operation), (count, slots), generator=generator)
    strengths = torch.tensor([STRENGTH.get(number, 0) for number in Operation], dtype=torch.float64)
    return steps_of(operation, strengths[operation], torch.randint(3, (count, slots), generator=generator))


def one_step(count, operation, resampling=NEAREST):
    strength = torch.full((count,), STRENGTH.get(operation, 0), dtype=torch.float64)
    return [Step(torch.full((count,), int(operation)), strength, torch.full((count,), resampling))]


@pytest.mark.parametrize("size", [32, 8])
def test_both_ways_give_the_same_images(size):
    images, steps = sample_images(200, size, size) / 255, random_steps(200, 3)
    found = apply_grouped(images, steps, FILL)
    assert torch.equal(apply_branch_free(images, steps, FILL, RESAMPLINGS), found)
    assert torch.equal(images, sample_images(200, size, size) / 255)
    levels = found * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert 0 <= levels.min() and levels.max() <= 255


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("operation", Operation)
def test_a_batch_of_one_operation_both_ways(operation, resampling):
    images, steps = sample_images(9) / 255, one_step(9, operation, resampling)
    found = apply_grouped(images, steps, FILL)
    assert torch.equal(apply_branch_free(images, steps, FILL, RESAMPLINGS), found)
    assert torch.equal(found, images) == (operation == Operation.IDENTITY)


def test_steps_are_done_one_after_the_other_and_each_image_on_its_own():
    images, steps = sample_images(60) / 255, random_steps(60, 2, seed=1)
    first = apply_grouped(images, steps[:1], FILL)
    found = apply_grouped(images, steps, FILL)
    assert torch.equal(apply_grouped(first, steps[1:], FILL), found)
    parts = [Step(*(field[10:30] for field in step)) for step in steps]
    assert torch.equal(apply_grouped(images[10:30], parts, FILL), found[10:30])


@pytest.mark.parametrize("branch_free", [False, True])
def test_images_between_levels_are_rounded_only_where_something_is_done(branch_free):
    whole = sample_images(40) / 255
    noise = torch.rand(whole.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    between, steps = (whole + 0.9 * noise / 255).clamp(0, 1), random_steps(40, 1)

    def apply(images):
        if branch_free:
            return apply_branch_free(images, steps, FILL, RESAMPLINGS)
        return apply_grouped(images, steps, FILL)

    idle = steps[0].operation == Operation.IDENTITY
    assert 0 < idle.sum() < 40
    assert torch.equal(apply(between)[~idle], apply(whole)[~idle])
    assert torch.equal(apply(between)[idle], between[idle])


def test_grouped_handles_only_the_images_concerned(monkeypatch):
    handled = []

    def counting(levels, strength):
        handled.append(len(levels))
        return 255 - torch.arange(256.0)

    monkeypatch.setitem(operations.TABLES, Operation.EQUALIZE, counting)
    steps = random_steps(100, 2)
    apply_grouped(sample_images(100) / 255, steps, FILL)
    assert handled == [int((step.operation == Operation.EQUALIZE).sum()) for step in steps]


@pytest.mark.parametrize("branch_free", [False, True])
def test_no_images(branch_free):
    images, steps = torch.zeros(0, 3, 32, 32), random_steps(0, 2)
    found = apply_branch_free(images, steps, FILL, RESAMPLINGS) if branch_free else apply_grouped(images, steps, FILL)
    assert found.shape == images.shape


def test_branch_free_reads_nothing_and_its_kernels_are_as_many_for_every_batch():
    counts = []
    for size in (3, 90):
        images, steps = sample_images(size) / 255, random_steps(size, 2)
        with HostReads() as reads, OpCount() as kernels:
            apply_branch_free(images, steps, FILL, RESAMPLINGS)
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


def test_constant_is_float64_where_it_is_asked_for():
    found = constant([[0.1, 2], [3, 4]], torch.device("meta"))
    assert (found.dtype, found.device.type, found.shape) == (torch.float64, "meta", (2, 2))
