"""The images that a run was evaluated on, read again as its config says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lt_bench.config.schema import Config, schema
from lt_bench.config.yaml_text import parse_yaml
from lt_bench.errors import DataError, UsageError
from lt_bench.figures.studies import NotPossible, Run
from lt_bench.files import SMALL, read_text
from lt_bench.preflight.validate import validate


def evaluated_images(run: Run, labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The evaluated images at some positions, as the network saw them, (K, H, W, 3) uint8; nothing is downloaded.

    Raises NotPossible where the run's config or its data cannot be read, where the data are not those of the ``labels``
    (M,) that it was evaluated on, and where they come from code of one's own: a run folder may be anybody's.
    """
    import torch  # for this figure alone

    from lt_bench.data.load import load_data

    config = _config(run)
    dataset = config.dataset
    single = replace(config.evaluation, views="single", expand=None)  # of several crops a person sees the middle
    config = replace(config, dataset=replace(dataset, download=False, workers=0), evaluation=single)
    try:
        data = load_data(config, torch.device("cpu"))
        images = data.validation if run.record.evaluated_on == "validation" else data.test
        if not np.array_equal(images.labels.numpy(), labels):
            raise NotPossible(f"{dataset.name} is not what run {run.record.run_id} was evaluated on")
        rows = slice(0, len(positions))
        chunks = images.chunks("plain", torch.from_numpy(positions), rows, max(1, len(positions)), torch.Generator())
        seen = torch.cat([*chunks])
    except (DataError, UsageError, OSError) as error:
        said = str(error).partition("\n")[0]
        raise NotPossible(f"the images of run {run.record.run_id} cannot be read: {said}") from error
    return to_pixels(seen, data.seen.mean, data.seen.std)


def to_pixels(images: Any, mean: list[float], std: list[float]) -> np.ndarray:
    """Normalised images (K, 3, H, W) of PyTorch as (K, H, W, 3) uint8."""
    values = images.permute(0, 2, 3, 1).numpy() * np.array(std) + np.array(mean)
    return np.asarray((255 * values).round().clip(0, 255), dtype=np.uint8)


def _config(run: Run) -> Config:
    """The config in a run's folder, trusted with nothing but the package."""
    if run.folder is None:
        raise NotPossible(f"run {run.record.run_id} is a record alone: name the folder of the run")
    path = run.folder / "config.yaml"
    try:
        merged = OmegaConf.merge(schema(), parse_yaml(read_text(path, SMALL)), {"trust": []})
        merged.tracker = {}  # what showed the run while it was trained
        return validate(merged, frozen=True)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, OmegaConfBaseException) as error:
        said = str(error).partition("\n")[0]
        raise NotPossible(f"{path} cannot be used: {said}") from error
