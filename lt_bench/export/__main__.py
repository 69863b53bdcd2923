"""``python -m lt_bench.export``: a finished run as files that other programs load."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lt_bench.command import DONE, as_called, exit_status, printable, say_loading
from lt_bench.errors import UsageError
from lt_bench.evaluation.shots import RULES, shot_groups
from lt_bench.files import temporary_folder, write_atomic, write_json, writing
from lt_bench.predict.run_folder import predictor_file
from lt_bench.record.record import RECORD, RunRecord, read_record

if TYPE_CHECKING:
    from lt_bench.predict.predictor import Predictor
    from lt_bench.predict.scenes import ScenePredictor

CROPS = {"single": "center", "five": "corners and center", "ten": "corners and center, and mirrored"}
ABOUT = """examples:
  python -m lt_bench.export runs/RUN --to model            weights, classes, preprocessing, and a card of the model
  python -m lt_bench.export runs/RUN --to model --onnx     and as ONNX, compared with the network by onnxruntime

Weights have the names of torchvision or timm where the network is theirs and the classifier is linear; any other
network is written as an exported program as well, which PyTorch runs without lt_bench.
DIR gets its name when all is written. ONNX needs pip install 'lt_bench[export]'.
exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=as_called("python -m lt_bench.export"),
        description="Write the model of a finished run for other programs.",
        epilog=as_called(ABOUT),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a finished run, such as runs/0123456789ab")
    add("--to", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    add("--onnx", action="store_true", help="model.onnx as well")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--torchscript", action="store_true", help="model.torchscript.pt as well")
    either.add_argument("--exported", action="store_true", help="model.pt2 of torch.export as well")
    add("--trust", nargs="+", default=[], metavar="MODULE", help="modules of your own that the run may import")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return exit_status(lambda: _export(_parser().parse_args(argv)), "lt_bench.export", goes_on=False)


def _export(arguments: argparse.Namespace) -> int:
    forms = [form for form in ("exported", "torchscript", "onnx") if getattr(arguments, form)]
    target = Path(os.path.abspath(os.path.expanduser(arguments.to)))
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{arguments.to} is no folder, or is not empty; name a new one with --to DIR, or empty it")
    predictor_file(arguments.run)  # a wrong one is said before PyTorch is loaded
    say_loading("lt_bench.export")
    from lt_bench.export.programs import require
    from lt_bench.predict.predictor import load_any

    for form in forms:
        require(form)
    predictor = load_any(arguments.run, trust=arguments.trust)
    path = Path(os.path.expanduser(arguments.run)) / RECORD
    try:
        record = read_record(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); name the folder of a finished run") from error
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target.parent, f".{target.name}-") as folder:
        made = folder / "model"
        made.mkdir()
        write(predictor, record, forms, made)
        with writing(target, made):
            os.rename(made, target)  # onto an empty folder, or none
    for file in sorted(target.iterdir()):
        print(printable(str(file)))
    return DONE


def write(predictor: Predictor | ScenePredictor, record: RunRecord, forms: Sequence[str], folder: Path) -> None:
    """Write all files of a model into an empty folder; raises UsageError as ``programs.write``."""
    from safetensors.torch import save

    from lt_bench.export.card import card
    from lt_bench.export.programs import FILES
    from lt_bench.export.programs import write as write_program
    from lt_bench.export.scene_card import scene_card
    from lt_bench.export.weights import weights
    from lt_bench.predict.predictor import Predictor

    found = weights(predictor)
    write_atomic(folder / "model.safetensors", save(found.state, {"format": "pt"}))
    wanted = dict.fromkeys([*(() if found.code else ("exported",)), *forms])
    network = predictor.network()
    differences = {FILES[form]: write_program(form, network, predictor.transform.size, folder) for form in wanted}
    names = [" ".join(name.split()) for name in predictor.class_names]
    write_atomic(folder / "labels.txt", "".join(f"{name}\n" for name in names))
    write_json(folder / "labels.json", _labels(predictor, record))
    if isinstance(predictor, Predictor):
        preprocessing, text = _preprocessing(predictor), card(record, predictor, found.code, differences, found.images)
    else:
        preprocessing, text = predictor.transform.to_dict(), scene_card(record, predictor, differences)
    write_json(folder / "preprocessing.json", preprocessing)
    write_atomic(folder / "README.md", text)


def _labels(predictor: Predictor | ScenePredictor, record: RunRecord) -> list[dict[str, object]]:
    """Every class by number: its name, its training images, and its group by the record's rule where that is known."""
    found = record.metrics["train_counts"]
    groups = shot_groups(np.array(found), record.group_rule) if found and record.group_rule in RULES else {}
    counts = found or [None] * len(predictor.class_names)
    of = {label: name for name, labels in groups.items() for label in labels.tolist()}
    return [
        {"number": label, "name": name, "training_images": count, "group": of.get(label)}
        for label, (name, count) in enumerate(zip(predictor.class_names, counts, strict=True))
    ]


def _preprocessing(predictor: Predictor) -> dict[str, object]:
    """What torchvision's transforms need to do as much, and by what probabilities are calibrated."""
    transform = predictor.transform
    return {
        "size": transform.size,
        "resize": transform.short_side,
        "crop": CROPS[transform.views],
        "interpolation": transform.interpolation,
        "antialias": True,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "pixels": transform.pixels,
        "stored_short_side": transform.stored_side,
        "stored_jpeg_quality": transform.jpeg_quality,
        "temperature": predictor.temperature,
    }


if __name__ == "__main__":
    sys.exit(main())
