"""Every reader on inputs that nobody meant: `python -m tests.fuzz --seconds 600`.

A reader may refuse an input with its own errors; anything else is a failure, of which each kind is shown once, with a
short input that brings it about. The seconds are CPU seconds of each reader. A module of this folder that has
`READERS: dict[str, Reader]` takes part.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.fuzz.contract import Reader
from tests.fuzz.hunt import Found, hunt


def readers() -> dict[str, Reader]:
    """All readers by name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    modules = [import_module(f"tests.fuzz.{name}") for name in names if not name.startswith(("__", "test_"))]
    return {name: reader for module in modules for name, reader in getattr(module, "READERS", {}).items()}


def told(name: str, seed: int, found: Found) -> str:
    """What there is to say of a hunt: a line, and three for every failure."""
    lines = [f"{name}: {found.tries:,} tries, seed {seed}, distinct failures: {len(found.failures)}"]
    for place, failure in found.failures.items():
        lines += [f"  {place.kind} at {place.line}: {failure.said}", f"    with {failure.shown}"]
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def main(words: Sequence[str] | None = None) -> int:
    """Hunt through the readers; 1 where one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=readers(), metavar="NAME", help=f"of {', '.join(readers())}")
    parser.add_argument("--seconds", type=float, default=600, help="CPU seconds of each reader (%(default)s)")
    parser.add_argument("--seed", type=int, help="of the inputs (another one each time)")
    arguments = parser.parse_args(words)
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    failed = False
    for name, reader in readers().items():
        if name in (arguments.only or readers()):
            found = hunt(reader, seed, arguments.seconds)
            print(told(name, seed, found), flush=True)
            failed |= bool(found.failures)
    return int(failed)


if __name__ == "__main__":
    cache = tempfile.mkdtemp(prefix="lt_bench-cache-")
    os.environ |= {"LT_BENCH_CACHE": cache, "HYPOTHESIS_STORAGE_DIRECTORY": os.path.join(cache, "hypothesis")}
    try:
        sys.exit(main())
    finally:
        shutil.rmtree(cache, ignore_errors=True)
