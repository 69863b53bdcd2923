"""``python -m lt_bench.predict``: the classes of new images, or of their pixels, by a finished run."""

from __future__ import annotations

import argparse
import codecs
import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from lt_bench.command import DONE, FAILED, as_called, csv_cell, exit_status, printable, say_loading
from lt_bench.errors import UsageError
from lt_bench.files import atomic_writer, read_bytes
from lt_bench.machine import usable_cores
from lt_bench.predict.run_folder import predictor_file

if TYPE_CHECKING:
    from lt_bench.predict.masks import Segmented
    from lt_bench.predict.predictor import Predictor
    from lt_bench.predict.scenes import ScenePredictor

ABOUT = """examples:
  python -m lt_bench.predict runs/RUN photos/                    every image below a folder
  python -m lt_bench.predict runs/RUN a.jpg b.png --top 1        files
  find . -name '*.jpg' | python -m lt_bench.predict runs/RUN -   names from standard input, one in a line
  python -m lt_bench.predict runs/RUN --list names.txt --csv out.csv
  python -m lt_bench.predict runs/RUN photos/ --masks out --overlay    of a run of segmentation

Probabilities are calibrated by a temperature where the run has a validation part, such as
dataset.validation_fraction=0.2. Images that cannot be read are named on standard error and left without a class.
A run of segmentation writes a mask of each image, whose pixels are class numbers, and says how many percent of the
pixels each class has; images are read one by one.
Of folders, hidden files, what has no suffix of an image, and links to folders are passed over. In a table, a name that
a spreadsheet would take for a formula begins with an apostrophe.
exit status: 0 done, 1 failed or some images could not be read, 2 wrong usage, 130 interrupted
"""


# flags that a run of one task has no use for
OF_OTHERS = {"classification": ("masks", "overlay"), "segmentation": ("batch_size", "workers")}


class Answer(NamedTuple):
    """An image's name with its most probable classes and their probabilities, or with what is wrong with it."""

    name: str
    classes: list[tuple[str, float]]
    problem: str = ""


Said = TypeVar("Said", "Answer", "Segmented")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=as_called("python -m lt_bench.predict"),
        description="Predict the classes of images, or of their pixels, with a finished run.",
        epilog=as_called(ABOUT),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a finished run, such as runs/0123456789ab")
    add("images", nargs="*", metavar="IMAGES", help="files and folders; -: names of such on standard input")
    add("--list", metavar="FILE", help="a file with names of files and folders, one in a line")
    add("--top", type=int, default=5, metavar="K", help="classes of each image, the most probable or largest first (5)")
    add(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write a table of all images instead of lines on standard output",
    )
    add("--masks", type=Path, metavar="DIR", help="where masks go, of a run of segmentation (masks)")
    add(
        "--overlay",
        action="store_true",
        help="and beside each mask NAME_overlay.png, the image in its classes' colours",
    )
    add("--batch-size", type=int, metavar="N", help="images of one forward pass (those of the run's evaluation)")
    add("--workers", type=int, metavar="N", help="processes that read images; 0: none beside this one (the cores)")
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute (auto: on a GPU if there is one)",
    )
    add("--trust", nargs="+", default=[], metavar="MODULE", help="modules of your own that the run may import")
    add("--no-progress", action="store_true", help="no progress bar on standard error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return exit_status(lambda: _predict(_parser().parse_intermixed_args(argv)), "lt_bench.predict", goes_on=False)


def _predict(arguments: argparse.Namespace) -> int:
    for name, least in {"top": 1, "batch_size": 1, "workers": 0}.items():
        if (value := getattr(arguments, name)) is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {least} or more, not {value}")
    if arguments.masks is not None and arguments.masks.exists() and not arguments.masks.is_dir():
        raise UsageError(f"--masks {arguments.masks} is no folder; name one")
    if arguments.csv is not None and arguments.csv.is_dir():
        raise UsageError(f"--csv {arguments.csv} is a folder; name a file in it")
    predictor_file(arguments.run)  # a wrong one is said before PyTorch is loaded
    say_loading("lt_bench.predict")
    names = _names(arguments)
    import torch

    from lt_bench.predict.predictor import Predictor, load_any

    device = "cuda" if arguments.device != "cpu" and torch.cuda.is_available() else "cpu"
    if arguments.device == "cuda" and device == "cpu":
        raise UsageError("--device cuda: PyTorch finds no GPU here; leave it out")
    predictor = load_any(arguments.run, device=device, trust=arguments.trust)
    for name in OF_OTHERS[predictor.task]:
        if getattr(arguments, name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag}: {arguments.run} is a run of {predictor.task}, which has no use for it; leave it out"
            )
    tally = Counter[bool]()
    answer = _classes if isinstance(predictor, Predictor) else _masks
    where = answer(predictor, names, arguments, tally)  # type: ignore[arg-type]
    said = f"{tally[False]:,} of {tally.total():,} images predicted{where}; {tally[True]:,} could not be read"
    print(printable(said), file=sys.stderr)
    return FAILED if tally[True] else DONE


def _classes(predictor: Predictor, names: list[str], arguments: argparse.Namespace, tally: Counter[bool]) -> str:
    """Say the classes of every image, or write a table; returns where that is."""
    print(f"probabilities are {predictor.about_probabilities}", file=sys.stderr)
    workers = usable_cores() if arguments.workers is None else arguments.workers
    size = arguments.batch_size or predictor.images_at_once
    found = _said(answers(predictor, names, arguments.top, size, workers, not arguments.no_progress), tally)
    if arguments.csv is None:
        for answer in found:
            if not answer.problem:
                print(f"{_in_line(answer.name)}\t{_shown(answer.classes)}")
        return ""
    _write(arguments.csv, found, min(arguments.top, len(predictor.class_names)))
    return f", in {arguments.csv}"


def _masks(predictor: ScenePredictor, names: list[str], arguments: argparse.Namespace, tally: Counter[bool]) -> str:
    """Write the mask of every image, and say the shares of its classes or write a table; returns where that is."""
    from lt_bench.predict.masks import segmented, targets, write_shares

    out = arguments.masks or Path("masks")
    paths = targets(names, out, arguments.overlay)
    found = _said(segmented(predictor, names, paths, arguments.overlay, not arguments.no_progress), tally)
    if arguments.csv is not None:
        write_shares(arguments.csv, found, predictor.class_names)
        return f", in {out} and {arguments.csv}"
    for one in found:
        if not one.problem:
            print(f"{_in_line(one.name)}\t{_shown(one.largest(predictor.class_names, arguments.top))}")
    return f", in {out}"


def _names(arguments: argparse.Namespace) -> list[str]:
    """All images that are named; raises UsageError where there is none."""
    from lt_bench.predict.images import found

    lines = list[str]()
    if arguments.list is not None:
        try:
            lines += _lines(read_bytes(arguments.list))
        except (OSError, ValueError) as error:
            raise UsageError(f"--list {arguments.list} cannot be read ({error}); name a text file") from error
    if "-" in arguments.images:
        if sys.stdin is None:
            raise UsageError("-: standard input is closed; leave out -, or give it names")
        lines += _lines(sys.stdin.buffer.read())
    names = found([*(name for name in arguments.images if name != "-"), *lines])
    if not names:
        raise UsageError("no image is named, or lies in the folders that are; name files, folders, --list FILE or -")
    return names


def _lines(content: bytes) -> list[str]:
    """Names, one in a line: they need not be text, and lines may end as on Windows."""
    lines = os.fsdecode(content.removeprefix(codecs.BOM_UTF8)).split("\n")
    return [name for line in lines if (name := line.removesuffix("\r"))]


def answers(
    predictor: Predictor, names: Sequence[str], top: int, batch_size: int, workers: int, shown: bool
) -> Iterator[Answer]:
    """An answer for every image, in order, with a progress bar where it is ``shown``."""
    from tqdm import tqdm

    from lt_bench.predict.images import batches

    few = min(workers, -(-len(names) // batch_size))  # a worker reads whole batches
    with tqdm(desc="predicting", total=len(names), unit="image", disable=not shown) as bar:
        for seen in batches(names, predictor.transform, batch_size, few):
            by_number = {number: Answer(names[number], [], problem) for number, problem in seen.problems.items()}
            if seen.numbers:
                best = predictor.probabilities(predictor.transform.normalised(seen.pixels)).topk(
                    min(top, len(predictor.class_names)), dim=1
                )
                rows = zip(seen.numbers, best.values.tolist(), best.indices.tolist(), strict=True)
                for number, values, labels in rows:
                    classes = [
                        (predictor.class_names[label], value) for label, value in zip(labels, values, strict=True)
                    ]
                    by_number[number] = Answer(names[number], classes)
            yield from (by_number[number] for number in sorted(by_number))
            bar.update(len(by_number))


def _said(found: Iterable[Said], tally: Counter[bool]) -> Iterator[Said]:
    """The answers as they come, counted by whether an image is broken, which is said at once."""
    for answer in found:
        tally[bool(answer.problem)] += 1
        if answer.problem:
            print(f"lt_bench.predict: {_in_line(answer.problem)}", file=sys.stderr)
        yield answer


def _shown(classes: list[tuple[str, float]]) -> str:
    return ", ".join(f"{_in_line(name)} {100 * value:.1f} %" for name, value in classes)


def _in_line(text: str) -> str:
    """A name without what would end its line or column."""
    return printable(text.replace("\n", "\\x0a").replace("\t", "\\x09"))


def _write(path: Path, found: Iterable[Answer], top: int) -> None:
    """A table with a row for every image, complete or not there."""
    with atomic_writer(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        rows = csv.writer(text)
        pairs = [f"{what}_{number}" for number in range(1, top + 1) for what in ("class", "probability")]
        rows.writerow(["image", *pairs, "problem"])
        for answer in found:
            cells = [cell for name, value in answer.classes for cell in (name, f"{value:.6f}")]
            rows.writerow(map(csv_cell, [answer.name, *cells, *[""] * (2 * top - len(cells)), answer.problem]))
        text.flush()
        text.detach()


if __name__ == "__main__":
    sys.exit(main())
