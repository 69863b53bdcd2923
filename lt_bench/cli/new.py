"""``lt-bench new method NAME``: a method of one's own to start from, with its file of settings and two tests."""

from __future__ import annotations

import argparse
import ast
import keyword
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NoReturn

from lt_bench.command import DONE, as_called, exit_status
from lt_bench.config.conf import names_in
from lt_bench.config.own_files import FOLDER, NO_WORD
from lt_bench.config.signatures import home_of
from lt_bench.errors import UsageError
from lt_bench.files import write_atomic

MODULE = '''"""${title}: cross-entropy with smoothed labels, to start from."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from lt_bench.contracts import Batch, Method, TrainContext, TrainInfo, feature_dim
from lt_bench.errors import SettingError
from torch import Tensor, nn


class ${cls}(Method):
    """Smoothed labels (Szegedy et al., CVPR 2016, section 7) on one view."""

    provides_classifier: ClassVar[bool] = True  # stage_two=none evaluates it
    classifier: nn.Linear

    def __init__(
        self,
        encoder: nn.Module,
        info: TrainInfo,
        *,
        smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise SettingError("smoothing", "from 0 and below 1", smoothing, usual=0.1)
        self.views = ("crop_flip",)
        self.encoder, self.smoothing = encoder, smoothing
        self.classifier = nn.Linear(feature_dim(encoder), info.num_classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean smoothed cross-entropy of logits (B, C) and labels (B,)."""
        return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)

    def forward(
        self,
        batch: Batch,
        epoch: int,
        step: int,
        context: TrainContext,
    ) -> dict[str, Tensor]:
        """The loss of the first view."""
        logits = self.classifier(self.encoder(batch.views[0]))
        return {"loss": self.loss(logits, batch.labels)}
'''
SETTINGS = """# @package _global_
# ${title}: cross-entropy with smoothed labels, to start from
defaults:
  - ce  # its optimiser, schedule and stage two
method:
  name: ${name}
  title: ${title}
  order: 1000  # its row in tables: after those with a smaller number
  _target_: ${name}.${cls}
  smoothing: 0.1  # Szegedy et al., section 7
"""
TESTS = '''"""${title}: its loss by hand, and a tiny run from the command line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from lt_bench.__main__ import main
from lt_bench.contracts import TrainInfo
from torch import nn

from ${name} import ${cls}


class Encoder(nn.Identity):
    """Images that are features already."""

    feature_dim = 2


def test_the_loss_is_that_of_the_formula() -> None:
    info = TrainInfo(labels=torch.tensor([0, 0, 1]), num_classes=2, epochs=1)
    method = ${cls}(Encoder(), info, smoothing=0.2)
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/4 and 3/4
    expected = -(0.9 * math.log(1 / 4) + 0.1 * math.log(3 / 4))  # 1 - s + s/2, s/2
    loss = method.loss(logits, torch.tensor([0])).item()
    assert loss == pytest.approx(expected)


def test_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    words = ["method=${name}", "budget=smoke", "device=cpu", "progress=false"]
    assert main([*words, f"output_dir={tmp_path}"]) == 0
    records = [*tmp_path.glob("*/record.json")]
    assert len(records) == 2  # of stage one, and of the run
'''


WORDS_OF_YAML = ("yes", "no", "on", "off", "none")  # other values there, or no choice at all


class _Flags(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m lt_bench new --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _Flags(
        as_called("python -m lt_bench new"),
        description="Write a method of your own into the current folder: module, settings and tests to start from.",
        epilog="Nothing is overwritten. Exit status: 0 done, 2 wrong usage",
    )
    parser.add_argument("kind", choices=["method"])
    parser.add_argument("name", metavar="NAME", help="in lower case, such as my_method")
    return exit_status(lambda: _new(parser, argv), goes_on=False)


def _new(parser: _Flags, argv: Sequence[str] | None) -> int:
    name: str = parser.parse_args(argv).name
    _refuse_name(name)
    words = _words(name)
    files = {
        Path(f"{name}.py"): MODULE,
        Path(FOLDER, "method", f"{name}.yaml"): SETTINGS,
        Path(f"test_{name}.py"): TESTS,
    }
    if there := [str(path) for path in files if path.exists() or path.is_symlink()]:
        raise UsageError(f"{', '.join(there)}: there already; nothing was written, take another name")
    for path, text in files.items():
        write_atomic(path, Template(text).substitute(words))
        print(path)
    print(
        as_called(
            f"\nnow: python -m pytest test_{name}.py\n"
            f"     python -m lt_bench method={name} --dry-run\n"
            f"     python -m lt_bench --help method={name}"
        )
    )
    return DONE


def _words(name: str) -> dict[str, str]:
    """What stands in the files for a method's name, its title and its class."""
    title = " ".join(name.replace("_", " ").title().split())
    return {"name": name, "title": title, "cls": title.replace(" ", "")}


def _names() -> set[str]:
    """What the files import, and their own classes, beside that of the method."""
    trees = (ast.parse(Template(text).substitute(name="_", title="_", cls="_")) for text in (MODULE, TESTS))
    found = (node for tree in trees for node in ast.walk(tree) if isinstance(node, (ast.alias, ast.ClassDef)))
    return {getattr(node, "asname", None) or node.name for node in found}


def _refuse_name(name: str) -> None:
    """Raise UsageError for a name that a module, or a choice, cannot have or that another one has."""
    if not name.isascii() or not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        raise UsageError(f"{name!r} can be no module; write letters in lower case, digits and _, such as my_method")
    if not name[0].isalpha():
        raise UsageError(f"{name!r}: begin it with a letter, such as my_method")
    if NO_WORD.fullmatch(name) or name in WORDS_OF_YAML:
        raise UsageError(f"{name} means something else on the command line; take another name, such as my_{name}")
    if (cls := _words(name)["cls"]) in _names():
        advice = f"take another name, such as my_{name}"
        raise UsageError(f"{name} would have a class {cls}, a name that its files have already; {advice}")
    if name in names_in("method"):
        raise UsageError(f"there is a method={name} already; take another name, such as my_{name}")
    home = home_of(name)
    if name in sys.stdlib_module_names or (home is not None and home.resolve() != Path.cwd().resolve()):
        raise UsageError(f"there is a module {name} already, which yours would hide; take another name, my_{name}")
