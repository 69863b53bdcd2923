"""The files of a split's lists and their checksums; without NumPy, for a run's identity."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lt_bench.files import read_bytes

SUFFIXES = (".txt", ".npy")
LAYOUT = (
    "split_seed=K reads splitK/train.txt and, where they are, validation.txt, probe_full.txt, split*/probe_*shot.txt; "
    "each may be .npy instead"
)
STAGE_ONE = ("train", "validation")  # the lists that an encoder depends on


def split_files(folder: Path, number: int) -> dict[str, Path]:
    """Files of a split by their purpose; few-shot lists of all splits, as split1/probe_100shot."""
    own = f"split{number}/"
    places = {"train": [own + "train"], **{name: [own + name, name] for name in ("validation", "probe_full")}}
    shots = sorted(
        {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("split*/probe_*shot.*")}
    )
    places |= {name: [name] for name in shots if re.fullmatch(r"split\d+/probe_\d+shot", name)}
    files = {name: [folder / (where + suffix) for where in places[name] for suffix in SUFFIXES] for name in places}
    return {name: next(filter(Path.is_file, files[name])) for name in files if any(map(Path.is_file, files[name]))}


def checksums(folder: Path, number: int) -> dict[str, str]:
    """SHA-256 of the file of every list; a file that cannot be read has none, and stops the run when it is loaded."""
    found = {}
    for name, path in split_files(folder, number).items():
        try:
            found[name] = hashlib.sha256(read_bytes(path)).hexdigest()
        except OSError:
            continue
    return found


def probe_list(shots: int, shot_seed: int) -> str:
    """The name of the list of a few-shot probe."""
    return f"split{shot_seed}/probe_{shots}shot"
