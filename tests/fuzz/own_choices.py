"""Choices of one's own, in files of any name and content, and names of methods that `new` is asked to write."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lt_bench.cli.main import _dispatch
from lt_bench.cli.new import main
from lt_bench.command import DONE
from lt_bench.config.compose import compose, groups
from lt_bench.config.own_files import own_files
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate
from tests.fuzz.contract import Reader
from tests.fuzz.folders import Content, content, laid, quiet
from tests.fuzz.odd import changed, replaced, texts

METHOD = """# @package _global_
# cross-entropy with another rate
defaults:
  - ce
method:
  name: my_ce
  title: My CE
  order: 1000
  _target_: lt_bench.methods.ce.CE
train:
  lr: 0.05
  epochs: ${epochs:100}
"""
FILES = {
    "method/my_ce.yaml": METHOD,
    "recipe/my_ce_digits_lt.yaml": "# @package _global_\ntrain: {batch_size: 32}\n",
    "stage_two/my_cb.yaml": "defaults: [cb]\ntitle: My CB\naugment: false\n",
    "imbalance/my_if.yaml": "factor: 20\n",
    "backbone/my_tiny.yaml": "name: my_tiny\n_target_: lt_bench.models.tiny.TinyEncoder\n",
    "budget/my_budget.yaml": "epoch_scale: 0.5\n",
}
WORDS = tuple(f"{Path(name).parent}={Path(name).stem}" for name in FILES)
paths = st.one_of(
    st.builds("{}/{}{}".format, st.sampled_from(["method", "quirks", "stage_two", "recipe", "none", "."]), texts,
              st.sampled_from([".yaml", ".yml", ".yaml.yaml", ".YAML", ""])),
    st.sampled_from(["method/ce.yaml", "my.yaml", "method/my_ce.yml", "method/a/my_ce.yaml", "config.yaml"]),
)  # fmt: skip


@st.composite
def folders(draw: Callable[..., Any]) -> dict[str, Content]:
    """Files of choices: one of them changed in letters, in a value or altogether, and perhaps another beside them."""
    name = draw(st.sampled_from(sorted(FILES)))
    text = FILES[name]
    head = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    trees = replaced(yaml.safe_load(text)).map(lambda tree: f"{head}{json.dumps(tree)}\n")
    texts_of_it: SearchStrategy[str] = st.one_of(changed(st.just(text)), trees, trees)
    inside = texts_of_it.map(lambda new: new.encode("utf-8", "surrogateescape"))
    found: dict[str, Content] = {name: draw(st.one_of(inside, inside, inside, content(text.encode())))}
    other = draw(st.one_of(st.none(), st.none(), paths))
    if other is not None and _can_lie(other):
        found.setdefault(other, draw(content(text.encode())))
    return found


def _can_lie(path: str) -> bool:
    """Whether a folder may hold a file of this name, which no other is in the way of."""
    lying = Path(path)
    if "\0" in path or ".." in lying.parts or lying.is_absolute() or max(map(len, lying.parts), default=99) >= 60:
        return False
    return not any(lying in Path(name).parents or Path(name) in lying.parents for name in FILES)


def read_choices(files: dict[str, Content]) -> None:
    """Compose and check a run of all choices, and one of the method, and ask for its help."""
    lying: dict[str, Content] = {name: text.encode() for name, text in FILES.items()}
    with laid({**lying, **files}) as folder, own_files(str(folder)), quiet():
        try:
            groups()
            for words in (WORDS, WORDS[:1]):
                with contextlib.suppress(UsageError):
                    validate(compose(words))
            _dispatch([f"--help={WORDS[0]}"])
        except UsageError as error:
            assert str(error).strip()
            raise


names = st.one_of(
    st.sampled_from(["my_ce", "none", "class", "torch", "lt_bench", "a", "_", "on", "nan", "ce", "method", "typing"]),
    st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True),
    changed(st.just("my_method")),
    texts,
)


def read_name(name: str) -> None:
    """Ask for a method of a name; one that is written can be run."""
    with laid({}) as folder, _in(folder), quiet():
        if main(["method", "--", name]) == DONE:
            assert {path.name for path in folder.glob("*.py")} == {f"{name}.py", f"test_{name}.py"}
            assert _dispatch([f"method={name}", "--dry-run"]) == DONE


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    """A block in which a folder is the current one."""
    former = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(former)


READERS = {
    "own choices": Reader(folders(), read_choices, (UsageError,)),
    "new methods": Reader(names, read_name, ()),
}
