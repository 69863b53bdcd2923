"""The long-tailed train and validation split of a data set, and the manifest that identifies it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import Repr
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lt_bench.data.splits.imbalance import Profile, class_counts, positions_by_class, select
from lt_bench.errors import UsageError
from lt_bench.files import parse_json, read_bytes

LEAST_FOR_VALIDATION = 5  # images of a class, of which a fraction is set aside
_SHOTS_STREAM = 3
_BALANCED_STREAM = 2
_TEST_STREAM = 4
VALIDATION_STREAM = 1  # not the stream of the selection, which must not depend on the validation fraction


@dataclass(frozen=True, eq=False)
class Split:
    """Positions in the training images: train (M,), validation (V,), balanced (P,); class_counts (C,) of train.

    ``balanced`` is every image of the pool that is not held out, whether the tail's cut kept it or not. ``test`` (T,)
    are those that are the test part, where a data set has no other.
    ``lists`` are the lists that the split was read from, by name, and those of few-shot probes beside them.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    class_counts: list[int]
    balanced: NDArray[np.int64]
    lists: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    test: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def make_split(
    labels: NDArray[np.integer],
    num_classes: int,
    *,
    factor: float | None,
    profile: Profile,
    seed: int,
    pool_per_class: int | None,
    validation_fraction: float,
    validation_per_class: int = 0,
    test_fraction: float = 0.0,
) -> Split:
    """Cut the training images with ``labels`` (N,) into a long-tailed train part, a validation and a test part.

    The test part is cut first: ``test_fraction`` of every class, rounded, at least one image, and leaves at least one.
    ``factor`` None keeps all images in file order ("native"); else see ``imbalance.select``. ``pool_per_class`` first
    restricts every class to its first images in file order. The validation part takes the fraction of every class
    with 5 images or more, at least one image, and leaves at least one; it never changes which images are selected.
    ``validation_per_class`` instead sets that many images of every class aside *before* the profile cuts, a balanced
    part that also judges the tail; the pool, and with it the largest class, is smaller by as many.
    Raises UsageError for values out of range, for a class without images and where a profile cannot be filled.
    """
    if not 0 <= validation_fraction < 1:
        raise UsageError(f"dataset.validation_fraction is at least 0 and below 1, not {validation_fraction:g}")
    if pool_per_class is not None and pool_per_class < 1:
        raise UsageError(f"dataset.pool_per_class is at least 1 or null, not {pool_per_class}")
    test = test_part(labels, num_classes, test_fraction, seed)
    left = np.ones(len(labels), dtype=bool)
    left[test] = False
    pool = [positions[left[positions]][:pool_per_class] for positions in positions_by_class(labels, num_classes)]
    sizes = [len(positions) for positions in pool]
    if 0 in sizes:
        raise UsageError(f"class {sizes.index(0)} has no training image; check the labels and dataset.num_classes")
    aside = _balanced_part(pool, validation_per_class, seed)
    selected = np.setdiff1d(np.concatenate(pool), aside)
    if factor is not None:
        counts = class_counts(max(sizes) - validation_per_class, num_classes, factor, profile)
        selected = selected[select(labels[selected], counts, seed)]
    held_out = _validation_mask(labels[selected], num_classes, validation_fraction, seed)
    train = selected[~held_out]
    validation = np.concatenate([aside, selected[held_out]])
    counts = np.bincount(labels[train], minlength=num_classes).tolist()
    return Split(train, validation, counts, np.setdiff1d(np.concatenate(pool), validation), test=test)


def draw_shots(labels: NDArray[np.integer], num_classes: int, shots: int, seed: int) -> NDArray[np.int64]:
    """Positions of ``shots`` images of every class, ascending, in ``labels`` (N,): a function of the arguments alone.

    Raises UsageError where a class has fewer.
    """
    by_class = positions_by_class(labels, num_classes)
    fewest = min(range(num_classes), key=lambda label: len(by_class[label]))
    if shots > len(by_class[fewest]):
        raise UsageError(
            f"stage_two.shots={shots}, but class {fewest} has {len(by_class[fewest])} images that are not held out; "
            f"set stage_two.shots to at most {len(by_class[fewest])}, or, for a data set of files, dataset.probe_list "
            "to a list of more images or a folder of classes"
        )
    random = np.random.RandomState((seed, _SHOTS_STREAM))
    return np.sort(np.concatenate([random.permutation(positions)[:shots] for positions in by_class]))


def test_part(labels: NDArray[np.integer], num_classes: int, fraction: float, seed: int) -> NDArray[np.int64]:
    """Positions of the test part, ascending; a class of one image has none in it, so that it can be trained on.

    Raises UsageError for a fraction that leaves nothing to train on, and where no class has two images.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"dataset.test_fraction is at least 0 and below 1, not {fraction:g}")
    random = np.random.RandomState((seed, _TEST_STREAM))
    chosen = [np.empty(0, dtype=np.int64)]
    for positions in positions_by_class(labels, num_classes) if fraction else ():
        wanted = min(max(1, round(len(positions) * fraction)), len(positions) - 1)
        chosen.append(random.permutation(positions)[: max(wanted, 0)])
    test = np.sort(np.concatenate(chosen))
    if fraction and not len(test):
        raise UsageError(f"dataset.test_fraction={fraction:g} cuts no image: a class needs two, one to train on")
    return test


def _balanced_part(pool: list[NDArray[np.int64]], per_class: int, seed: int) -> NDArray[np.int64]:
    random = np.random.RandomState((seed, _BALANCED_STREAM))
    for label, positions in enumerate(pool):
        if per_class >= len(positions):
            raise UsageError(
                f"dataset.validation_per_class={per_class} leaves no image of class {label}, which has "
                f"{len(positions)}; set it lower"
            )
    return np.sort(np.concatenate([random.permutation(positions)[:per_class] for positions in pool]))


def _validation_mask(labels: NDArray[np.integer], num_classes: int, fraction: float, seed: int) -> NDArray[np.bool_]:
    random = np.random.RandomState((seed, VALIDATION_STREAM))
    mask = np.zeros(len(labels), dtype=bool)
    if fraction > 0:
        for positions in positions_by_class(labels, num_classes):
            count = len(positions)
            wanted = min(max(1, int(count * fraction)), count - 1) if count >= LEAST_FOR_VALIDATION else 0
            mask[random.permutation(positions)[:wanted]] = True
    return mask


def manifest(
    split: Split, *, dataset: str, factor: float | None, profile: str, seed: int, test_images: int
) -> dict[str, object]:
    """What identifies a split, as plain JSON values: settings, counts, SHA-256 of the positions as '<i8' bytes."""
    lists = {"lists": {name: _sha256(positions) for name, positions in split.lists.items()}} if split.lists else {}
    test = {"test_sha256": _sha256(split.test)} if len(split.test) else {}
    return {
        "dataset": dataset,
        "imbalance_factor": factor,
        "profile": None if factor is None else profile,
        "split_seed": seed,
        "class_counts": split.class_counts,
        "train_images": len(split.train),
        "train_sha256": _sha256(split.train),
        "validation_images": len(split.validation),
        "validation_sha256": _sha256(split.validation),
        "test_images": test_images,
        **test,
        **lists,
    }


def _sha256(indices: NDArray[np.int64]) -> str:
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest stored at a path; empty where there is none that can be read."""
    try:
        stored = parse_json(read_bytes(path))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def check_manifest(path: Path, manifest: Mapping[str, object]) -> None:
    """Compare the manifest stored at ``path`` with a new one; UsageError names every key that differs, both values."""
    advice = f"delete {path.parent} to run anew on the data that is there now"
    try:
        stored = parse_json(read_bytes(path))
        if not isinstance(stored, dict):
            raise ValueError("no object, but another value")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no JSON file of a split ({error}); {advice}") from error
    new = json.loads(json.dumps(manifest))
    # an older manifest knows lists by their lines, and no names of classes
    left_out = {"lists_sha256"} if "content" in stored else {"content", "classes", "class_rule"}
    brief = Repr()
    brief.maxstring = brief.maxother = 80
    brief.maxlist = 12
    differences = [
        f"{key}: stored {brief.repr(stored.get(key))}, new {brief.repr(new.get(key))}"
        for key in sorted((stored.keys() | new.keys()) - left_out)
        if stored.get(key) != new.get(key)
    ]
    if differences:
        raise UsageError(
            f"the split differs from {path}: " + "; ".join(differences) + ". Use the settings and the data of the "
            f"stored split, or another output_dir; {advice}"
        )
