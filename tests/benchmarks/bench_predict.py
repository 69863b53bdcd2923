"""Predictions of new images against a bare loop: `python tests/benchmarks/bench_predict.py [--tiny]`.

A ResNet-18 on synthetic JPEG files of 500 x 375. The bare side is what one writes by hand: a data set that opens a file
with PIL and torchvision's transforms, a `DataLoader`, and the network. All is read and computed in one process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from bench_input import write_files
from harness import Comparison, Side, compare, script
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from lt_bench.data.transform import Transform
from lt_bench.models.resnet import resnet18
from lt_bench.predict.__main__ import answers
from lt_bench.predict.predictor import Predictor

GOAL = 0.8  # broken images are found, names and probabilities of the best classes are made, progress is counted
CLASSES, TOP = 100, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def model() -> Predictor:
    """A predictor of 224 pixels with the evaluation of images in files."""
    torch.manual_seed(0)
    encoder = resnet18()
    classifier = nn.Linear(encoder.feature_dim, CLASSES)
    nn.init.normal_(classifier.weight)  # so that classes differ in their probabilities
    return Predictor(
        encoder=encoder.to(memory_format=torch.channels_last).eval(),
        classifier=classifier.eval(),
        transform=Transform(224, 0.875, MEAN, STD),
        class_names=tuple(f"class {label}" for label in range(CLASSES)),
        node={},
    )


class Files(Dataset[Tensor]):
    """What one writes by hand."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Tensor:
        found: Tensor = self.transform(Image.open(self.names[number]).convert("RGB"))
        return found


def bare_loop(predictor: Predictor, names: list[str], batch: int) -> Callable[[], Tensor]:
    """Probabilities (N, TOP) of the best classes, with nothing around them."""
    network = nn.Sequential(predictor.encoder, predictor.classifier)

    def work() -> Tensor:
        with torch.no_grad():
            loader = DataLoader(Files(names), batch)
            return torch.cat(
                [
                    torch.softmax(network(images.to(memory_format=torch.channels_last)), 1).topk(TOP, 1).values
                    for images in loader
                ]
            )

    return work


def measure(tiny: bool) -> Iterator[Comparison]:
    """Both sides; they agree where the probabilities are the same up to what two ways of resizing differ by."""
    count, batch = (6, 4) if tiny else (64, 32)
    predictor = model()
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/{name}" for name in write_files(Path(folder), count)]

        def ours() -> Tensor:
            found = answers(predictor, names, TOP, batch, 0, False)
            return torch.tensor([[value for _, value in answer.classes] for answer in found])

        yield from compare(
            f"predictions of {count} JPEG files of 500 x 375, ResNet-18, 224 pixels, batch {batch}",
            [Side("DataLoader and network", bare_loop(predictor, names, batch), GOAL)],
            Side("lt-bench predict", ours),
            lambda mine, theirs: mine.shape == theirs.shape and torch.allclose(mine, theirs, rtol=0.02),
            rounds=1 if tiny else 3,
            row=f"predictions of {count} JPEG files, ResNet-18 at 224 pixels",
        )


if __name__ == "__main__":
    sys.exit(script(measure))
