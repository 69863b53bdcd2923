"""The files of a split's lists and their checksums; without NumPy, for a run's identity."""

from __future__ import annotations

import hashlib
import os
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
    own, there = f"split{number}/", lists_below(folder)
    places = {"train": [own + "train"], **{name: [own + name, name] for name in ("validation", "probe_full")}}
    places |= {name: [name] for name in sorted(there) if re.fullmatch("split[0-9]+/probe_[0-9]+shot", name)}
    files = {name: [path for where in places[name] for path in there.get(where, [])] for name in places}
    return {name: found[0] for name, found in files.items() if found}


def lists_below(folder: Path) -> dict[str, list[Path]]:
    """The files in a folder and in those of its splits that have the suffix of a list, by place and name without it.

    Capitals make no difference. What has the name is taken, also where it turns out to be no file: a list that is left
    out would be another split.
    """
    found: dict[str, list[Path]] = {}
    for place in ("", *_names(folder)):
        for name in _names(folder / place) if not place or place.lower().startswith("split") else ():
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                found.setdefault(f"{place}/{stem}".strip("/").lower(), []).append(folder / place / name)
    return found


def _names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it is no folder, or not to be read."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


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
