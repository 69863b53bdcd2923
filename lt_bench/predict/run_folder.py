"""Where a run folder has its predictor, and what to name in place of a folder that has none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lt_bench.config.schema import Config
from lt_bench.config.stages import StageName
from lt_bench.errors import UsageError
from lt_bench.files import read_json
from lt_bench.record.record import PREDICTOR, RECORD

USUAL = Path(Config.output_dir)
NAMED = 3  # of several folders


def predictor_file(run: str | Path) -> Path:
    """The file of the predictor in a run folder; raises UsageError that says what to name where it holds none."""
    folder = Path(os.path.expanduser(run))  # "~nobody" stays as it is
    if (folder / PREDICTOR).is_file():
        return folder / PREDICTOR
    raise UsageError(_instead(folder))


def _instead(folder: Path) -> str:
    record = read_json(folder / RECORD)
    if record.get("kind") == StageName.ONE.kind:
        wholes = (one for one in _beside(folder.parent) if read_json(one / RECORD).get("stage_one_id") == folder.name)
        named = _some(wholes) or "the folder of the whole run, which is not finished here"
        return f"{folder} is the stage one of a run, which predicts nothing; name {named}"
    if (folder / RECORD).is_file():
        return (
            f"{folder} holds no {PREDICTOR}: its run was made by an older version, or has a classifier of your own "
            f"without settings(); delete {folder / RECORD} and type the run again; nothing is trained again"
        )
    if within := _some(_beside(folder)):
        return f"{folder} is a folder of runs; name one of them, such as {within}"
    if (USUAL / folder.name / PREDICTOR).is_file():
        return f"{folder} is no folder of a finished run (did you mean {USUAL / folder.name}?)"
    return (
        f"{folder} is no folder of a finished run (no {RECORD}, no {PREDICTOR}); name one, such as runs/RUN; "
        "one that is in progress has them at its end"
    )


def _beside(folder: Path) -> Iterator[Path]:
    """The run folders in a folder that hold a predictor, in the order of their names."""
    if folder.is_dir():
        yield from (path.parent for path in sorted(folder.glob(f"*/{PREDICTOR}")))


def _some(folders: Iterator[Path]) -> str:
    """The first of some folders; empty where there is none."""
    return " or ".join(str(folder) for folder, _ in zip(folders, range(NAMED), strict=False))
