"""``python -m lt_bench.data``: check a data set of image files, pack it, or look at what a method sees of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np

from lt_bench.command import DONE, FAILED, as_called, exit_status, printable
from lt_bench.config.compose import compose
from lt_bench.config.own_files import add_option, own_files
from lt_bench.config.schema import Config
from lt_bench.data.content import look, looked_at_once
from lt_bench.data.facts import require_fitting
from lt_bench.data.files.check import examine, read_lists
from lt_bench.data.files.image_file import StoredForm
from lt_bench.data.files.packed import IMAGES, pack
from lt_bench.data.files.scene_pixels import examine as examine_scenes
from lt_bench.data.remarks import known_by, listed, of_test_part, of_validation_part, untested
from lt_bench.data.source import read_source
from lt_bench.data.sources.image_lists import describe
from lt_bench.data.sources.scene_folders import SceneFolders
from lt_bench.data.splits.cut import cut
from lt_bench.data.splits.scenes import split_scenes
from lt_bench.errors import DataError, UsageError
from lt_bench.machine import usable_cores
from lt_bench.preflight.validate import validate

SHORT_SIDE = 256  # of the images that prepare writes, unless dataset.short_side is set
ABOUT = """\
check      read the lists and every image of a data set and print every problem, with file and line
prepare    write a packed copy of a data set to dataset.packed=DIR, one file that is read faster: images with a short
           side of dataset.short_side=256 pixels (default), as raw pixels or with dataset.jpeg_quality=95 as JPEG;
           the same command goes on with a copy that was interrupted
browse     write a sheet of what a method sees of any data set, images from head to tail under every view, as PNG
Overrides are those of a run: dataset=imagenet_lt dataset.root=DIR dataset.list_dir=DIR dataset.workers=8
Exit status: 0 no problem, 1 problems or failed, 2 wrong usage, 130 interrupted
"""


class _Flags(argparse.ArgumentParser):
    """The flags; a wrong one is a usage error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m lt_bench.data --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _Flags(
        as_called("python -m lt_bench.data"), epilog=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["check", "prepare", "browse"])
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDES")
    add_option(parser)
    words = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _dispatch(parser, words), "lt_bench.data", goes_on="prepare" in words)


def _dispatch(parser: _Flags, argv: Sequence[str]) -> int:
    flags = parser.parse_intermixed_args(argv)
    try:
        with own_files(flags.config_dir):
            config = validate(compose(flags.overrides))
            return {"check": _check, "prepare": _prepare, "browse": _browse}[flags.command](config)
    except BrokenExecutor as error:
        raise DataError(str(error)) from error


@looked_at_once()
def _check(config: Config) -> int:
    if isinstance(found := None if look(config).lists else read_source(config), SceneFolders):
        return _check_scenes(config, found)
    lists = look(config).lists or read_lists(config)
    problems, remarks = examine(config, lists, _workers(config))
    for problem in problems:
        print(printable(str(problem)))
    for part, files in lists.parts().items():
        print(printable(f"{part}: {describe(files, lists.num_classes)}, from {files.origin}"))
    if not lists.problems:
        split = cut(config, lists.train.labels, lists.num_classes)  # refused here where a run refuses it
        cut_test = of_test_part(config, lists, lists.train.take(split.test)) if lists.test is None else ()
        for remark in (*cut_test, *of_validation_part(config, lists, lists.train.take(split.validation))):
            print(printable(remark))
    for part, what in known_by(config, lists).items():
        print(printable(f"{part}: {what}"))
    if lists.classes is not None:
        print(printable(f"classes by {lists.class_rule}: {listed(lists.classes)}"))
    for remark in (*lists.remarks, *untested(lists), *remarks):
        print(printable(remark))
    print(f"{len(problems):,} problem{'' if len(problems) == 1 else 's'} found in {config.dataset.title}")
    return FAILED if problems else DONE


def _check_scenes(config: Config, folders: SceneFolders) -> int:
    require_fitting(config.dataset, num_classes=folders.num_classes)
    wrong, present = examine_scenes(config, folders, _workers(config))
    for problem in wrong:
        print(printable(problem))
    for part, files in folders.parts().items():
        print(f"{part}: {len(files.images):,} scenes")
    for remark in folders.remarks:
        print(remark)
    if not wrong:  # refused here where a run refuses it
        split_scenes(present, config.dataset.validation_fraction, config.split_seed)
    if not wrong and folders.image_counts is not None:
        other = np.flatnonzero(present.sum(0) != folders.image_counts).tolist()
        found = f"not as published for classes {listed([*map(str, other)])}" if other else "as published"
        print(f"images with each class: {found}")
    print(f"{len(wrong):,} problem{'' if len(wrong) == 1 else 's'} found in {config.dataset.title}")
    return FAILED if wrong else DONE


def _prepare(config: Config) -> int:
    dataset = config.dataset
    if dataset.packed is None:
        raise UsageError("name the folder to write the packed copy to: dataset.packed=DIR")
    lists = read_lists(config)
    lists.require_sound()
    for remark in lists.remarks:
        print(printable(remark))
    form = StoredForm(
        SHORT_SIDE if dataset.short_side is None else dataset.short_side, dataset.jpeg_quality, dataset.pixels
    )
    folder, skip = Path(dataset.packed).expanduser(), dataset.on_bad_image == "skip"
    count = pack(lists, folder, form, _workers(config), skip, config.progress, dataset.follow_links)
    size = (folder / IMAGES).stat().st_size / 2**30
    print(f"{folder}: {count:,} images, {size:,.2f} GiB; train on it with dataset.packed={folder} {form.overrides()}")
    return DONE


@looked_at_once()
def _browse(config: Config) -> int:
    from lt_bench.data.browse import browse  # imports PyTorch

    print(printable(str(browse(config))))
    return DONE


def _workers(config: Config) -> int:
    workers = config.dataset.workers
    return usable_cores() if workers is None else workers


if __name__ == "__main__":
    sys.exit(main())
