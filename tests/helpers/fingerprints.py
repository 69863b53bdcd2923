"""Networks with deterministic weights, and the stored sizes and outputs they are compared with."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lt_bench.models.heads import BiasedCosine, NormalizedLinear

BACKBONES = dict(np.load(Path(__file__).parents[1] / "golden" / "bcl_paco_backbones.npz"))
_SIZES = np.stack([BACKBONES[key] for key in ("params", "buffers", "trainable")], axis=1).tolist()
SIZES = dict(zip(BACKBONES["names"].tolist(), (tuple(sizes) for sizes in _SIZES), strict=True))


def sizes(module: nn.Module) -> tuple[int, int, int]:
    """Number of parameters, of buffer elements and of trainable parameters."""
    parameters = list(module.parameters())
    return (
        sum(parameter.numel() for parameter in parameters),
        sum(buffer.numel() for buffer in module.buffers()),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )


def hashed(offset: int, shape: tuple[int, ...]) -> Tensor:
    """Numbers in (-1, 1): a 32-bit hash of the flat index."""
    numbers = offset + np.arange(np.prod(shape), dtype=np.uint64)
    mask = np.uint64(2**32 - 1)
    numbers = (numbers * np.uint64(2654435761)) & mask
    numbers = ((numbers ^ (numbers >> np.uint64(15))) * np.uint64(2246822519)) & mask
    numbers ^= numbers >> np.uint64(13)
    return torch.from_numpy(2 * (numbers / 2**32) - 1).reshape(shape)


Network = TypeVar("Network", bound=nn.Module)


def fill_hashed(network: Network, offset: int = 0) -> Network:
    """The network itself in double precision, every weight and running statistic from its flat index and an offset."""
    network.double()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = np.sqrt(6 / module.weight[0].numel()) * hashed(offset, module.weight.shape)
        elif isinstance(module, BiasedCosine):
            module.weight.data = hashed(offset, module.weight.shape)
            module.bias.data = 0.1 * hashed(offset + 3000, module.bias.shape)
        elif isinstance(module, nn.Linear):
            module.weight.data = np.sqrt(3 / module.in_features) * hashed(offset, module.weight.shape)
            module.bias.data = 0.1 * hashed(offset + 3000, module.bias.shape)
        elif isinstance(module, NormalizedLinear):
            module.weight.data = hashed(offset, module.weight.T.shape).T
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            shape = module.weight.shape
            module.weight.data = 0.5 + 0.1 * hashed(offset, shape)
            module.bias.data = 0.1 * hashed(offset + 1000, shape)
            module.running_mean = 0.1 * hashed(offset + 2000, shape)
            module.running_var = 1 + 0.1 * hashed(offset + 4000, shape)
    return network


def image_batch(count: int, size: int) -> Tensor:
    """The images that the fingerprints were taken of, (count, 3, size, size)."""
    return hashed(7000, (count, 3, size, size))


def assert_fingerprint(name: str, *outputs: Tensor) -> None:
    """Compare the outputs of a filled network in evaluation with the stored ones: first columns, sum and length."""
    for number, output in enumerate(outputs):
        stored = {key: BACKBONES[f"{name}_out{number}{key}"] for key in ("", "_shape", "_sum", "_l2")}
        output, columns = output.detach(), stored[""].shape[1]
        # one table of the file is stored in single precision
        rtol = 1e-8 if stored[""].dtype == np.float64 else 1e-6
        assert list(output.shape) == stored["_shape"].tolist()
        np.testing.assert_allclose(output[:, :columns], stored[""], rtol=rtol)
        np.testing.assert_allclose(output.sum(), stored["_sum"], rtol=1e-8)
        np.testing.assert_allclose(output.norm(), stored["_l2"], rtol=1e-8)
