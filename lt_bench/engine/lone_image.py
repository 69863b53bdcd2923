"""Passes of a single image, from which a batch norm may not be able to take a variance."""

from __future__ import annotations

from torch import Tensor, nn

from lt_bench.config.schema import Training
from lt_bench.errors import SettingError

WHY = "because batch norm cannot train on a batch of one image"


def lone_image(training: Training, images: int, ranks: int) -> SettingError | None:
    """The setting by which some pass of an epoch has one image of each process; None where none has.

    ``images`` are those of an epoch; the last batch may be smaller, and micro-batches are parts of a batch.
    """
    size, part = training.batch_size, training.microbatch
    shares = [size // ranks] if images >= size else []
    shares += [] if training.drop_last else [images % size // ranks]
    if size // ranks == 1:
        return SettingError("batch_size", f"at least {2 * ranks}, {WHY}", size, 2 * ranks)
    if part is not None and any(share > 1 and share // min(share, -(-share * ranks // part)) == 1 for share in shares):
        return SettingError("microbatch", f"larger or null, {WHY}", part, "null")
    if 1 in shares:
        return SettingError("drop_last", f"true where one image is left for the last batch, {WHY}", False, "true")
    return None


def refuse_single_values(method: nn.Module, error: Exception) -> None:
    """Make the batch norms of a method raise ``error`` where they are to train on one value per channel.

    Others can: those over maps of several pixels, in eval mode, or over the joined batch of several processes.
    """

    def check(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if norm.training and inputs[0].numel() == inputs[0].shape[1]:
            raise error

    for module in method.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            module.register_forward_pre_hook(check)
