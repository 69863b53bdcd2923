"""How an epoch's images are cut into batches, and each batch into the equal shares of several processes."""

from __future__ import annotations

from lt_bench.config.schema import Training
from lt_bench.data.batches.source import RankShare
from lt_bench.errors import SettingError


def count_steps(images: int, training: Training, smallest: int, limit: int | None = None) -> int:
    """The steps of an epoch of ``images``, at most ``limit``; SettingError where there is none.

    A last batch that is not full is a step where it has at least ``smallest`` images and is not to be dropped.
    """
    size = training.batch_size
    if size < smallest:
        raise SettingError("batch_size", f"at least {smallest}, the images that a batch needs", size, smallest)
    steps, rest = divmod(images, size)
    if rest >= smallest and not training.drop_last:
        steps += 1
    if steps == 0:
        raise SettingError("batch_size", f"at most {images} (or drop_last=false)", size, images)
    return min(steps, limit or steps)


def shares_of_rank(images: int, batch_size: int, steps: int, rank: int, ranks: int) -> list[RankShare]:
    """The equal share that process ``rank`` of ``ranks`` has of each of the ``steps`` of an epoch of ``images``."""
    shares = list[RankShare]()
    for step in range(steps):
        start = step * batch_size
        share = min(batch_size, images - start) // ranks  # what remains of an equal division is in ``left_out``
        rows = slice(rank * share, (rank + 1) * share)
        shares.append(RankShare(step, slice(start, start + share * ranks), rows))
    return shares


def left_out(images: int, training: Training, smallest_share: int, ranks: int, limit: int | None = None) -> int:
    """Images of an epoch that one process would train on, and ``ranks`` of them, with equal shares, do not.

    ``smallest_share`` is the number of images that each process needs of a batch.
    """
    size = training.batch_size

    def trained(processes: int) -> int:
        steps = count_steps(images, training, smallest_share * processes, limit)
        full, rest = divmod(min(steps * size, images), size)
        return full * (size - size % processes) + rest - rest % processes

    return trained(1) - trained(ranks)


def left_out_warning(missing: int, images: int, training: Training, key: str, ranks: int) -> str:
    """One line on images that are left out, with what to set below ``key`` of the config where that helps."""
    size, over = training.batch_size, training.batch_size % ranks
    near = " or ".join(str(value) for value in (size - over, size - over + ranks) if value)
    advice = f"; set {key}.batch_size={near}, which is shared out evenly" if over else ""
    return (
        f"{missing} of {images} images are left out of every epoch, because {ranks} processes have equal shares of a "
        f"batch (the record says so){advice}"
    )
