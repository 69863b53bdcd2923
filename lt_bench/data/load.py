"""A run's data: its source, the long-tailed split, and the images, in memory on the device or read from disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_bench.augment.pipeline import Pipeline
from lt_bench.augment.views import build_view
from lt_bench.config.dataset import Dataset
from lt_bench.config.schema import Config
from lt_bench.contracts import View
from lt_bench.data.batches.crops import PlainCrops
from lt_bench.data.batches.from_disk import DiskImages
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.data.batches.scenes import InMemoryScenes
from lt_bench.data.batches.scenes_from_disk import DiskScenes
from lt_bench.data.content import look
from lt_bench.data.facts import facts, require_fitting
from lt_bench.data.files.pixels import open_images
from lt_bench.data.files.scene_pixels import ScenePixels, classes_by_image
from lt_bench.data.remarks import known_to_be_same, not_looked_at, of_test_part, of_validation_part, remarks
from lt_bench.data.seen import as_seen, middle_of, plain_crops_of, remark_on_input
from lt_bench.data.source import read_source
from lt_bench.data.sources.common import ImageArrays, SceneArrays, Scenes
from lt_bench.data.sources.image_lists import SHOWN, ImageLists
from lt_bench.data.sources.lists import ImageFiles
from lt_bench.data.sources.scene_folders import SceneFiles, SceneFolders
from lt_bench.data.splits.cut import cut
from lt_bench.data.splits.list_files import probe_list
from lt_bench.data.splits.scenes import split_scenes
from lt_bench.data.splits.split import Split, draw_shots
from lt_bench.errors import DataError, SettingError, UsageError, keyed
from lt_bench.machine import usable_cores

Images = InMemoryImages | DiskImages


class StageTwoImages(NamedTuple):
    """The training images that a stage-two rule is fitted on: labels (N,), and a function that reads the images."""

    labels: Tensor
    images: Callable[[], Images]


class Data(NamedTuple):
    """The train split, the images for evaluation, and the manifest that identifies the split.

    ``labels`` (S,) are those of all training images of the source, followed by those of a probe list; ``at`` reads the
    images at some positions again and puts them on the device. Only probes need images outside the train split, so no
    other run keeps them in memory. ``remarks`` are what the user is told of the data, ``same_images`` what makes
    results doubtful: images in two parts, or under two labels; ``not_looked_at`` is what nobody has looked at for that.
    ``class_names`` are C words, where classes have names; ``seen`` is by what settings the network sees the images, and
    ``plain`` are the crops by which it evaluates them.
    """

    train: Images
    test: Images
    validation: Images
    seen: Dataset
    plain: PlainCrops
    split: Split
    manifest: dict[str, Any]
    labels: NDArray[np.int64]
    at: Callable[[NDArray[np.int64]], Images]
    remarks: tuple[str, ...] = ()
    same_images: tuple[str, ...] = ()
    not_looked_at: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return len(self.split.class_counts)

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """Training images per class, (C,)."""
        return np.asarray(self.split.class_counts, dtype=np.int64)

    def for_stage_two(self, split: str, shots: int | None = None, shot_seed: int = 0) -> StageTwoImages:
        """The "train" or "balanced" split, or ``shots`` images of every class of it, drawn with ``shot_seed``.

        The balanced split is a data set's probe list where there is one. Where the split comes with lists of so many
        shots, list number ``shot_seed`` is used instead of a draw from the balanced split.
        Raises SettingError for another name, UsageError where a class has too few images.
        """
        splits = {"train": self.split.train, "balanced": self.split.balanced}
        if split not in splits:
            raise SettingError("train_split", f"one of {', '.join(splits)}", split, "train")
        positions = splits[split]
        if shots is not None:
            positions = self._shots(positions, shots, shot_seed, listed=split == "balanced")
        if np.array_equal(positions, self.split.train):
            return StageTwoImages(self.train.labels, lambda: self.train)
        labels = torch.from_numpy(self.labels[positions]).to(self.train.labels.device)
        return StageTwoImages(labels, partial(self.at, positions))

    def _shots(self, positions: NDArray[np.int64], shots: int, seed: int, listed: bool) -> NDArray[np.int64]:
        """``shots`` images of every class of those at ``positions``, or the list of them with that number."""
        lists = [name for name in self.split.lists if name.endswith(f"/probe_{shots}shot")] if listed else []
        name = probe_list(shots, seed)
        if lists and name not in lists:
            raise UsageError(
                f"stage_two.shot_seed={seed}: dataset.split_dir has no list {name}, but {', '.join(sorted(lists))}; "
                "set stage_two.shot_seed to the number of one"
            )
        if lists:
            return self.split.lists[name]
        return positions[draw_shots(self.labels[positions], len(self.split.class_counts), shots, seed)]


def load_data(config: Config, device: torch.device) -> Data:
    """Read a data set and cut the long tail; raises UsageError, DataError with what to do.

    Arrays are put on the device; files are listed, and read when their images are needed.
    """
    found = look(config).lists or read_source(config)
    loaders: dict[type, Callable[[Config, torch.device, Any], Data]] = {
        ImageLists: _files,
        SceneArrays: _scenes,
        SceneFolders: _scene_files,
    }
    return loaders.get(type(found), _arrays)(config, device, found)


def _arrays(config: Config, device: torch.device, arrays: ImageArrays) -> Data:
    seen = as_seen(config, from_files=False)
    require_fitting(config.dataset, num_classes=arrays.num_classes, image_size=arrays.train_images.shape[-1])
    split, plain = cut(config, arrays.train_labels, arrays.num_classes), plain_crops_of(config, from_files=False)

    def images(pixels: Any, labels: Any) -> InMemoryImages:
        return InMemoryImages(
            torch.from_numpy(pixels).to(device), torch.from_numpy(labels).to(device), partial(_view, seen)
        )

    def evaluated(pixels: Any, labels: Any) -> InMemoryImages:
        # read in slices and never augmented: normalising is twice as fast from channels_last
        tensor = torch.from_numpy(pixels).to(device, memory_format=torch.channels_last)
        several = None if plain is plain.middle else plain
        return InMemoryImages(tensor, torch.from_numpy(labels).to(device), partial(_view, seen), several)

    def at(positions: NDArray[np.int64]) -> InMemoryImages:
        again = read_source(config)
        return images(again.train_images[positions], again.train_labels[positions])

    return Data(
        images(arrays.train_images[split.train], arrays.train_labels[split.train]),
        evaluated(arrays.test_images, arrays.test_labels),
        evaluated(arrays.train_images[split.validation], arrays.train_labels[split.validation]),
        seen,
        plain,
        split,
        facts(config, split, arrays, len(arrays.test_labels)),
        arrays.train_labels,
        at,
        tuple(remark_on_input(config, seen)),
        class_names=None if arrays.classes is None else tuple(arrays.classes),
    )


def _scenes(config: Config, device: torch.device, found: SceneArrays) -> Data:
    """Scenes are there as they are: no tail is cut, and a class's images are those with pixels of it."""
    seen, fraction = as_seen(config, from_files=False), config.dataset.validation_fraction
    require_fitting(config.dataset, num_classes=found.num_classes, image_size=found.train.images.shape[-1])
    split = split_scenes(found.train.classes(found.num_classes), fraction, config.split_seed)

    def scenes(part: Scenes, positions: NDArray[np.int64]) -> InMemoryScenes:
        pixels, masks = (torch.from_numpy(array[positions]).to(device) for array in part)
        return InMemoryScenes(pixels, masks, partial(_view, seen))

    return _data_of_scenes(config, found, split, scenes)


def _scene_files(config: Config, device: torch.device, found: SceneFolders) -> Data:
    """As ``_scenes``, of files; a class's images are as published where all are trained on, or counted in the masks."""
    seen, dataset = as_seen(config, from_files=True), config.dataset
    if found.problems:
        raise DataError("\n".join([*found.problems[:SHOWN], "python -m lt_bench.data check finds every problem"]))
    workers = usable_cores() if dataset.workers is None else dataset.workers
    require_fitting(dataset, num_classes=found.num_classes)
    if found.image_counts is not None and not dataset.validation_fraction:
        positions = np.arange(len(found.train.images))
        split = Split(positions, np.empty(0, dtype=np.int64), found.image_counts, positions)
    else:
        present = classes_by_image(config, found, workers)
        split = split_scenes(present, dataset.validation_fraction, config.split_seed)

    def scenes(files: SceneFiles, positions: NDArray[np.int64]) -> DiskScenes:
        chosen = SceneFiles(*([names[one] for one in positions] for names in files))
        pixels = ScenePixels(found.root, chosen, found.tables, dataset.follow_links)
        how = (seen.image_size, dataset.horizontal_flip, workers)
        return DiskScenes(pixels, chosen.images, device, partial(_view, seen), *how)

    return _data_of_scenes(config, found, split, scenes)


def _data_of_scenes(
    config: Config, found: SceneArrays | SceneFolders, split: Split, scenes: Callable[..., Any]
) -> Data:
    """What a run reads of scenes, which ``scenes`` makes of a part and positions in it."""
    from_files = isinstance(found, SceneFolders)
    seen = as_seen(config, from_files)
    return Data(
        scenes(found.train, split.train),
        scenes(found.test, np.arange(len(found.test.images))),
        scenes(found.train, split.validation),
        seen,
        plain_crops_of(config, from_files),
        split,
        facts(config, split, found, len(found.test.images)),
        np.zeros(len(found.train.images), dtype=np.int64),
        partial(scenes, found.train),
        (*remark_on_input(config, seen), *(found.remarks if isinstance(found, SceneFolders) else ())),
        class_names=None if isinstance(found, SceneFolders) else tuple(found.classes),
    )


def _files(config: Config, device: torch.device, lists: ImageLists) -> Data:
    dataset, seen = config.dataset, as_seen(config, from_files=True)
    lists.require_sound()
    split, pool = cut(config, lists.train.labels, lists.num_classes), lists.train
    test = lists.train.take(split.test) if lists.test is None else lists.test
    if lists.probe is not None:  # appended to the training images, even where it names some of them again
        pool = pool.followed_by(lists.probe)
        split = replace(split, balanced=np.arange(len(lists.train.names), len(pool.names)))
    workers = usable_cores() if dataset.workers is None else dataset.workers
    plain = plain_crops_of(config, from_files=True)

    def images(files: ImageFiles, crops: PlainCrops = plain, skip: bool = False) -> DiskImages:
        return DiskImages(
            open_images(config, lists.root, files.names),
            files.names,
            torch.from_numpy(files.labels).to(device),
            partial(_view, seen),
            crops,
            workers,
            skip,
        )

    def at(positions: NDArray[np.int64]) -> DiskImages:
        return images(pool.take(positions), middle_of(seen), dataset.on_bad_image == "skip")

    validation = lists.validation or lists.train.take(split.validation)
    parts = {"train": pool.take(split.train), "validation": validation, "test": test}
    return Data(
        at(split.train),
        images(test),  # no image is skipped: an accuracy over fewer images would be another one
        images(validation),
        seen,
        plain,
        split,
        {
            **facts(config, split, lists, len(test.names)),
            "lists_sha256": {part: files.sha256() for part, files in lists.parts().items()},
        },
        pool.labels,
        at,
        (
            *remark_on_input(config, seen),
            *remarks(config, lists),
            *(() if lists.test else of_test_part(config, lists, test)),
            *of_validation_part(config, lists, validation),
        ),
        tuple(known_to_be_same(config, lists, parts)),
        tuple(not_looked_at(config, lists)),
        None if lists.classes is None else tuple(lists.classes),
    )


def _view(dataset: Dataset, view: View) -> Pipeline:
    with keyed("dataset"):
        return build_view(view, dataset)
