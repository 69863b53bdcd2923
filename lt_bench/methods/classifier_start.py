"""What the classifier of a fine-tuned network starts from, computed once before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lt_bench.contracts import Method, TrainContext
from lt_bench.errors import DataError
from lt_bench.models.adapted import without_modules
from lt_bench.models.heads import NormalizedLinear
from lt_bench.models.text_features import text_rows

Start = Literal["none", "class_mean", "1_shot", "10_shot", "100_shot", "linear_probe", "text"]
ITERATIONS = 100  # of L-BFGS, as in the authors' code


@dataclass(frozen=True)
class ClassifierStart:
    """Rows of a linear or cosine classifier from the features that the frozen encoder gives the training images.

    ``class_mean``: the mean of a class's features, at unit length; ``n_shot``: of at most n random images of it;
    ``linear_probe``: multinomial logistic regression; ``text``: features of the classes' names. A bias starts at 0, but
    for a linear probe's in a linear classifier, whose rows are not normalised.
    Source: Shi et al., ICML 2024 (LIFT), authors' code.  Deviation: images are cut as in the evaluation, where the
    authors resize their short side to the size of the network; of two classes a linear probe has two rows.
    Raises DataError for a class without training images, and for text features that are not those of the classes.
    """

    kind: Start
    text_features: str | None = None
    class_names: Sequence[str] | None = None

    def __call__(self, method: Method, context: TrainContext, labels: Tensor) -> None:
        """Set the classifier of a method whose training images have these labels (N,)."""
        classifier = method.classifier
        assert isinstance(classifier, (nn.Linear, NormalizedLinear))
        count = classifier.weight.shape[0 if isinstance(classifier, nn.Linear) else 1]
        if self.kind == "text":
            assert self.text_features is not None
            set_rows(classifier, text_rows(self.text_features, self.class_names, count))
            return
        with without_modules(method.encoder):
            features = context.embed(method.encoder)
        if bool((missing := torch.bincount(labels, minlength=count) == 0).any()):
            numbers = ", ".join(map(str, missing.nonzero().flatten().tolist()[:5]))
            raise DataError(f"classes without training images have no mean to start from: {numbers}; set start=none")
        if self.kind == "linear_probe":
            rows = context.from_rank0(lambda: linear_probe(features, labels, count))
            set_rows(classifier, rows[:, :-1], rows[:, -1])
            return
        shots = None if self.kind == "class_mean" else int(self.kind.partition("_")[0])
        taken = torch.arange(len(labels), device=labels.device)
        if shots is not None:
            taken = few(labels, shots, context.generator("classifier_start"))
        set_rows(classifier, F.normalize(class_means(features[taken], labels[taken], count), dim=1))


def startable(classifier: nn.Module | None) -> bool:
    """Whether a classifier has rows that can be set."""
    return isinstance(classifier, (nn.Linear, NormalizedLinear))


@torch.no_grad()
def set_rows(classifier: nn.Module, rows: Tensor, bias: Tensor | None = None) -> None:
    """Let a linear or cosine classifier start from class vectors (C, D), the latter from their directions alone."""
    if isinstance(classifier, NormalizedLinear):
        classifier.weight.copy_(F.normalize(rows, dim=1).T)
        return
    assert isinstance(classifier, nn.Linear)
    classifier.weight.copy_(rows)
    if classifier.bias is not None:
        classifier.bias.copy_(torch.zeros(len(rows)) if bias is None else bias)


def class_means(features: Tensor, labels: Tensor, count: int) -> Tensor:
    """The mean features (C, D) of classes, of features (N, D) with labels (N,)."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    sums = torch.zeros(count, wide.shape[1], dtype=wide.dtype, device=wide.device).index_add_(0, labels, wide)
    return sums / torch.bincount(labels, minlength=count)[:, None]


def few(labels: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """The positions, ascending, of at most ``shots`` random images of every class."""
    order = torch.randperm(len(labels), generator=generator, device=generator.device).to(labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(labels), device=labels.device) - first[labels[by_class]]
    return by_class[rank < shots].sort().values


def linear_probe(features: Tensor, labels: Tensor, count: int) -> Tensor:
    """Weights and, in the last column, biases (C, D + 1) of logistic regression on features (N, D).

    Minimised is the sum of class-balanced cross-entropies plus half the squared weights, by L-BFGS.
    Source: scikit-learn's ``LogisticRegression(class_weight="balanced")``, which the authors' code calls.
    """
    wide = features.detach().double()
    weights = len(labels) / (count * torch.bincount(labels, minlength=count).double())
    weight = torch.zeros(count, wide.shape[1], dtype=torch.float64, device=wide.device, requires_grad=True)
    bias = torch.zeros(count, dtype=torch.float64, device=wide.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors = F.cross_entropy(wide @ weight.T + bias, labels, reduction="none")
        value = ((weights[labels] * errors).sum() + 0.5 * weight.square().sum()) / len(labels)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return torch.cat([weight.detach(), bias.detach()[:, None]], dim=1).to(features.dtype)
