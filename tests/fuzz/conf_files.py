"""Files of conf/ as somebody may have edited them: composed and checked as those of a checkout are."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from lt_bench.config.compose import compose
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate
from tests.fuzz.contract import Reader
from tests.fuzz.odd import changed, replaced

CONF = Path(__file__).parents[2] / "conf"
FILES = [
    "method/ce.yaml",
    "imbalance/if20.yaml",
    "stage_two/cb.yaml",
    "dataset/digits_lt.yaml",
    "recipe/ce_digits_lt.yaml",
]
FILES += ["backbone/tiny.yaml", "budget/paper.yaml", "config.yaml", "recipes.yaml", "optimizer/sgd.yaml"]
WORDS = ["method=ce", "imbalance=if20", "stage_two=cb", "recipe=ce_digits_lt"]


@st.composite
def edited(draw: Callable[..., Any]) -> tuple[str, str]:
    """A file and its new text: letters changed, or a value replaced."""
    name = draw(st.sampled_from([name for name in FILES if (CONF / name).exists()]))
    text = (CONF / name).read_text(encoding="utf-8")
    if draw(st.booleans()):
        return name, draw(changed(st.just(text)))
    head = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    return name, f"{head}{json.dumps(draw(replaced(yaml.safe_load(text))), indent=1)}\n"  # which is YAML, too


def read(given: tuple[str, str]) -> None:
    """Compose and check a run with one file of conf/ edited."""
    name, text = given
    with _instead_of_conf() as folder:
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        validate(compose(WORDS))


@contextlib.contextmanager
def _instead_of_conf() -> Iterator[Path]:
    """A copy of conf/ that stands for the package's own, with nothing kept of what was read before or in between."""
    own = sys.modules.get("lt_bench.conf") or importlib.import_module("lt_bench.conf")
    with tempfile.TemporaryDirectory(prefix="lt_bench-fuzz-") as place:
        folder = Path(shutil.copytree(CONF, Path(place, "conf"), ignore=shutil.ignore_patterns("__pycache__")))
        spec = importlib.util.spec_from_file_location(
            "lt_bench.conf", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        sys.modules["lt_bench.conf"] = importlib.util.module_from_spec(spec)
        _forget()
        try:
            yield folder
        finally:
            sys.modules["lt_bench.conf"] = own
            _forget()


def _forget() -> None:
    """Empty every cache of the modules that read conf/; sources of classes stay read."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("lt_bench.") and name != "lt_bench.config.signatures":
            for one in vars(module).values():
                if getattr(one, "__module__", None) == name and hasattr(one, "cache_clear"):
                    one.cache_clear()


READERS = {"files of conf": Reader(edited(), read, (UsageError,))}
