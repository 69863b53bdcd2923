"""lt_bench: the benchmark suite for long-tailed visual recognition."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_bench.predict.predictor import Predictor
    from lt_bench.predict.scenes import ScenePredictor

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run: str | os.PathLike[str], *, device: str = "cpu", trust: Iterable[str] = ()) -> Predictor | ScenePredictor:
    """The model of a finished run, to predict new images with: a ``lt_bench.predict.predictor.Predictor``.

    That of a run of scenes is a ``lt_bench.predict.scenes.ScenePredictor``. ``run`` is a run folder, or one that
    ``save`` of either wrote; ``trust`` names modules of your own whose code may run.
    Raises UsageError, DataError. PyTorch is imported here, and not by ``import lt_bench``.
    """
    from lt_bench.predict.predictor import load_any

    return load_any(os.fspath(run), device=device, trust=trust)
