"""SADE's aggregation: weights of experts that are learnt on the images to be predicted, without their labels.

Source: Zhang et al., NeurIPS 2022, authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lt_bench.evaluation.experts import UNIFORM
from lt_bench.evaluation.shifted import DIRECTIONS, FACTORS, drawn_images, long_tail

Views = Sequence[np.ndarray]  # pairs of random views, each (2, N, K, C): logits of K experts for both views of N images


class Learning(NamedTuple):
    """How weights are learnt: SGD with Nesterov's momentum, for so many epochs at most.

    After an epoch in which a weight, rounded to two decimals, is below ``smallest`` learning ends.
    """

    lr: float
    weight_decay: float
    momentum: float = 0.9
    epochs: int = 5
    batch_size: int = 128
    smallest: float = 0.05


def _softmax(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return found


def difference(raw: np.ndarray, views: np.ndarray) -> tuple[float, np.ndarray]:
    """How much the predictions for two views differ: minus the mean cosine of their probabilities, and its gradient.

    Shapes: raw (K,), whose softmax are the weights of the experts; views (2, B, K, C). Returns a float and (K,).
    """
    weights, views = _softmax(raw), views.astype(np.float64)
    probabilities = _softmax(np.einsum("k,vbkc->vbc", weights, views))
    lengths = np.linalg.norm(probabilities, axis=2, keepdims=True)
    units = probabilities / lengths
    cosines = (units[0] * units[1]).sum(axis=1, keepdims=True)
    by_probability = (cosines * units - units[::-1]) / lengths / views.shape[1]
    by_logit = probabilities * (by_probability - (probabilities * by_probability).sum(axis=2, keepdims=True))
    by_weight = np.einsum("vbc,vbkc->k", by_logit, views)
    return -float(cosines.mean()), weights * (by_weight - weights @ by_weight)


def steps(views: Views, orders: Sequence[np.ndarray], learning: Learning) -> Iterator[np.ndarray]:
    """The raw weights (K,), which begin at 1 / K, after every step; ``orders`` has the images of each epoch in turn.

    Epochs take the pairs of views in turn.
    Deviation: with fewer pairs than epochs images are seen again as they were; theirs draws new views in every epoch.
    """
    experts = views[0].shape[2]
    raw, momentum = np.full(experts, 1 / experts), np.zeros(experts)
    for epoch, order in enumerate(orders):
        for start in range(0, len(order), learning.batch_size):
            _, gradient = difference(raw, views[epoch % len(views)][:, order[start : start + learning.batch_size]])
            gradient = gradient + learning.weight_decay * raw
            momentum = learning.momentum * momentum + gradient
            raw = raw - learning.lr * (gradient + learning.momentum * momentum)
            yield raw
        if _softmax(raw).round(2).min() < learning.smallest:
            return


def learnt_weights(views: Views, images: np.ndarray, learning: Learning) -> np.ndarray:
    """Weights (K,) that sum to 1, learnt on the images at some positions, in orders of a generator of its own.

    So they are a function of the logits, the images and ``learning`` alone.
    """
    generator = np.random.default_rng(len(images))
    *_, raw = steps(views, [generator.permutation(images) for _ in range(learning.epochs)], learning)
    return _softmax(raw)


def weights_by_test_set(
    views: Views, labels: np.ndarray, train_counts: np.ndarray, learning: Learning
) -> dict[str, np.ndarray]:
    """Weights for the whole test set, "uniform", and for every long-tailed one by the name of its metric.

    Each is learnt on the images of its test set alone, of a long-tailed one on those that the authors' code draws. The
    labels say which images these are, and nothing else. Shapes: labels (N,), train_counts (C,).
    """
    found = {UNIFORM: learnt_weights(views, np.arange(len(labels)), learning)}
    totals = np.bincount(labels, minlength=len(train_counts))
    for name in ((direction, factor) for direction in DIRECTIONS for factor in FACTORS):
        counts = long_tail(totals, train_counts, *name)
        if counts is not None:
            found["{}{}".format(*name)] = learnt_weights(views, drawn_images(labels, counts), learning)
    return found
