"""What the branch-free form of an augmentation must be on an accelerator: without host reads, one graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.harness import HostReads, OpCount
from torch import Generator, Tensor

from helpers.pil_operations import sample_images

Draw = Callable[[int, Generator], Any]


def assert_kernels_are_as_many_for_every_batch(apply: Callable[[Tensor, Any], Tensor], draw: Draw) -> None:
    """Drawing and applying read nothing on the host and have no loop over images."""
    counts = []
    for size in (3, 90):
        images, random = sample_images(size) / 255, torch.Generator().manual_seed(0)
        with HostReads() as reads, OpCount() as kernels:
            apply(images, draw(size, random))
        assert reads.found == []
        counts.append(kernels.count)
    assert counts[0] == counts[1]


def assert_one_graph(apply: Callable[[Tensor, Any], Tensor], draw: Draw) -> None:
    """Compiled without a break, the images are the same bit for bit."""
    images, params = sample_images(25) / 255, draw(25, torch.Generator().manual_seed(0))
    torch.compiler.reset()
    compiled = torch.compile(apply, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(images, params), apply(images, params))
