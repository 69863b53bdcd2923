"""A network as a program that runs without its Python code: torch.export, TorchScript, ONNX; each one is compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lt_bench.errors import UsageError
from lt_bench.models.whole import Whole
from lt_bench.stage_two.ncm import NearestMean

INSTALL = "pip install 'lt_bench[export]'"
NEEDED = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-4  # of logits, or of a ten-thousandth of their size where that is more
ONNX = "onnx"
FILES = {"exported": "model.pt2", "torchscript": "model.torchscript.pt", ONNX: "model.onnx"}


def require(form: str) -> None:
    """Raise UsageError, with what to install, where a form needs packages that are not there."""
    missing = [name for name in NEEDED if form == ONNX and find_spec(name) is None]
    if missing:
        raise UsageError(f"--onnx needs {', '.join(missing)}; {INSTALL}")


class _Distances(nn.Module):
    """What ``NearestMean`` computes, without the operation that ONNX lacks."""

    def __init__(self, classifier: NearestMean) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        between = self.classifier.placed(features)[:, None] - self.classifier.means
        return -between.square().sum(dim=2)


@torch.no_grad()
def write(form: str, network: nn.Module, size: int, folder: Path) -> float:
    """Write a network in a form, for any number of images of ``size`` pixels; the largest difference of its logits.

    Raises UsageError where it cannot be written in that form, or computes other logits.
    """
    path = folder / FILES[form]
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own, on parts of itself
        try:
            run = {"exported": _exported, "torchscript": _torchscript, ONNX: _onnx}[form](network, images, path)
        except Exception as error:  # what these raise for a network that they cannot take is not listed anywhere
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"--{form}: PyTorch cannot write this network so ({said}); leave it out") from error
        differences = []
        for count in (3, 1):
            expected = network(images[:count])
            differences.append(float((run(images[:count]) - expected).abs().max() / expected.abs().max().clamp_min(1)))
    if not max(differences) <= TOLERANCE:
        raise UsageError(f"--{form} computes other logits (by {max(differences):.2g}); leave it out")
    return max(differences)


def _exported(network: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (images,), dynamic_shapes={"images": {0: batch}})
    torch.export.save(program, path)
    found: Callable[[Tensor], Tensor] = torch.export.load(path).module()
    return found


def _torchscript(network: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    torch.jit.trace(network, images).save(str(path))
    found: Callable[[Tensor], Tensor] = torch.jit.load(str(path))
    return found


def _onnx(network: nn.Module, images: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    if isinstance(network, Whole) and isinstance(network.classifier, NearestMean):
        network = Whole(network.encoder, _Distances(network.classifier)).eval()
    batch = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        network,
        (images,),
        str(path),
        dynamo=True,
        dynamic_shapes={"images": {0: batch}},
        input_names=["images"],
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda some: torch.from_numpy(np.asarray(session.run(None, {"images": some.numpy()})[0]))
