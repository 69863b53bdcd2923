"""``pytest --golden-count``: how many comparisons were made in tests that read golden values, and of which files.

Counted are calls of ``numpy.testing.assert_*`` and ``torch.testing.assert_close``, those that one of them makes itself
aside. A test has read what it read itself, what its fixtures read, and what its module or one whose functions that
module took over read when imported. Plain ``assert`` and ``pytest.approx`` are not seen.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.lib.npyio import NpzFile

FOLDER = Path(__file__).parents[1] / "golden"


def importing() -> str:
    """Name of the module that is being imported, "" outside imports."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and "__file__" in frame.f_globals:
            return str(frame.f_globals["__name__"])
        frame = frame.f_back
    return ""


def sources(module: Any) -> set[str]:
    """Names of a module and of the modules that its names come from."""
    return {module.__name__, *(str(getattr(value, "__module__", "")) for value in vars(module).values())}


class GoldenCount:
    """Watches reads of golden arrays and comparisons, one process of tests at a time."""

    def __init__(self) -> None:
        self.files: dict[str, set[str]] = defaultdict(set)  # by what has read them: a test, a fixture, a module
        self.calls: Counter[str] = Counter()  # by test
        self.reader: list[str] = []  # what runs now, the innermost last
        self.comparing = False
        self.counts: dict[str, tuple[int, list[str]]] = {}  # what is found, by test

    def watch(self) -> None:
        """Put counters around numpy's and PyTorch's functions, for the rest of the process."""
        import torch

        read = NpzFile.__getitem__

        @functools.wraps(read)
        def noted(file: Any, key: str) -> Any:
            path = Path(str(getattr(file.zip, "filename", None) or ""))
            if path.parent.resolve() == FOLDER:
                self.files[self.reader[-1] if self.reader else importing()].add(path.stem)
            return read(file, key)

        NpzFile.__getitem__ = noted  # type: ignore[method-assign]
        names = [name for name in dir(np.testing) if name.startswith("assert_")]
        for module, name in [*((np.testing, name) for name in names), (torch.testing, "assert_close")]:
            setattr(module, name, self._counted(getattr(module, name)))

    def _counted(self, compare: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(compare)
        def counted(*given: Any, **options: Any) -> Any:
            if self.comparing or not self.reader:
                return compare(*given, **options)
            self.calls[self.reader[0]] += 1
            self.comparing = True
            try:
                return compare(*given, **options)
            finally:
                self.comparing = False

        return counted

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        """What a fixture reads is read by every test that asks for it."""
        self.reader.append(f"{fixturedef.baseid}::{fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.reader.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """Whose comparisons these are, and whether anything golden was read for them."""
        self.reader.append(item.nodeid)
        try:
            return (yield)
        finally:
            self.reader.pop()
            names = {item.nodeid, *sources(getattr(item, "module", sys))}
            for definitions in getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).values():
                names |= {f"{one.baseid}::{one.argname}" for one in definitions}
            found = sorted(set().union(*(self.files[name] for name in names & self.files.keys())))
            if found and self.calls[item.nodeid]:
                self.counts[item.nodeid] = (self.calls[item.nodeid], found)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker hands over what it found."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["golden_count"] = self.counts

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker found."""
        self.counts |= getattr(node, "workeroutput", {}).get("golden_count", {})

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the sum."""
        comparisons = sum(number for number, _ in self.counts.values())
        files = {name for _, names in self.counts.values() for name in names}
        places = {test.partition("::")[0] for test in self.counts}
        terminalreporter.write_line(
            f"golden values: {comparisons} comparisons in {len(self.counts)} tests of {len(places)} modules "
            f"with {len(files)} files"
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of the command line."""
    parser.addoption("--golden-count", action="store_true", help="count the comparisons with golden values")


def pytest_configure(config: pytest.Config) -> None:
    """Count where it is asked for."""
    if config.getoption("--golden-count"):
        count = GoldenCount()
        count.watch()
        config.pluginmanager.register(count, "golden-count")
