"""Batches and shares: what several processes leave out is counted as the trainer slices, and said."""

import itertools

import pytest
from helpers.engine_parts import training

from lt_bench.engine.shares import count_steps, left_out, left_out_warning
from lt_bench.errors import SettingError


def visited(images, settings, share, ranks, limit):
    """Images of an epoch over all ranks, batch by batch; a batch too small for every rank's share is no step."""
    starts = range(0, images, settings.batch_size)
    batches = [min(settings.batch_size, images - start) for start in starts]
    if settings.drop_last or batches[-1] < share * ranks:
        batches = [size for size in batches if size == settings.batch_size]
    return sum(size // ranks * ranks for size in batches[:limit])


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("limit", [None, 2])
def test_what_is_left_out_is_what_one_process_sees_more(drop_last, limit):
    for images, size, share, ranks in itertools.product((24, 37, 64, 65), (8, 12, 16), (1, 2), (1, 2, 3, 4)):
        settings = training(1, size)
        settings.drop_last = drop_last
        expected = visited(images, settings, share, 1, limit) - visited(images, settings, share, ranks, limit)
        assert left_out(images, settings, share, ranks, limit) == expected
        assert expected == 0 or ranks > 1


def test_the_warning_names_batches_that_are_shared_out():
    assert left_out_warning(4, 256, training(1, 128), "train", 3) == (
        "4 of 256 images are left out of every epoch, because 3 processes have equal shares of a batch (the record "
        "says so); set train.batch_size=126 or 129, which is shared out evenly"
    )
    assert left_out_warning(1, 257, training(1, 128), "train", 2).endswith("(the record says so)")
    assert "=3," in left_out_warning(2, 256, training(1, 2), "train", 3)


def test_a_batch_that_is_too_small_or_too_large_is_refused():
    with pytest.raises(SettingError, match="at least 4"):
        count_steps(100, training(1, 3), 4)
    settings = training(1, 200)
    settings.drop_last = True
    with pytest.raises(SettingError, match="at most 100"):
        count_steps(100, settings, 1)
