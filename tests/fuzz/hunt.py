"""The hunt: a reader is given inputs until its time is over, and what comes out of it is told apart by its place."""

from __future__ import annotations

import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import HypothesisWarning

from tests.fuzz.contract import Reader

ROOT = Path(__file__).parents[2]
OURS = (str(ROOT / "lt_bench"), str(ROOT / "launch"))
LONGEST = 60  # CPU seconds of one input
BATCH = 50  # tries between two looks at the clock

# Nothing is kept from one hunt to the next, so that a seed says which inputs there were.
PROFILE = hypothesis.settings(
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


class Place(NamedTuple):
    """Where a reader failed: the type of the error, and the innermost line of the package."""

    kind: str
    line: str


class Failure(NamedTuple):
    """The shortest input with which a reader failed at a place, and what it said."""

    shown: str
    said: str


class Found(NamedTuple):
    """What a hunt came to: the inputs tried and the distinct failures."""

    tries: int
    failures: dict[Place, Failure]


class TooLong(BaseException):
    """An input that is read for longer than any should be."""


def hunt(reader: Reader, seed: int, seconds: float = float("inf"), tries: float = float("inf")) -> Found:
    """Give a reader inputs until so many CPU seconds or tries are over; every distinct failure with a short input."""
    end, failures, count = time.process_time() + seconds, dict[Place, Failure](), 0

    def take(value: Any) -> None:
        nonlocal count
        if time.process_time() >= end and count:
            return
        count += 1
        try:
            with at_most(LONGEST):
                reader.read(value)
        except reader.allowed:
            return
        except (Exception, TooLong) as error:
            place, failure = place_of(error), Failure(repr(value), " ".join(str(error).split())[:200])
            new = place not in known
            if new and (place not in failures or len(failure.shown) < len(failures[place].shown)):
                failures[place] = failure
            if new and time.process_time() < end:  # what is raised is made shorter
                raise

    batch = 0
    warnings.simplefilter("ignore", HypothesisWarning)  # on long strategies
    while time.process_time() < end and count < tries:
        known = {*failures}
        settings = hypothesis.settings(PROFILE, max_examples=int(min(BATCH, tries - count)))
        test = hypothesis.seed(f"{seed} {batch}")(settings(hypothesis.given(reader.inputs)(take)))
        try:
            test()
        except (Exception, TooLong):
            if {*failures} == known:  # not of the reader: a strategy that does not work
                raise
        batch += 1
    return Found(count, failures)


def place_of(error: BaseException) -> Place:
    """Where an error came from."""
    lines = [(frame.f_code.co_filename, number) for frame, number in traceback.walk_tb(error.__traceback__)]
    ours = [(file, number) for file, number in lines if file.startswith(OURS)] or lines[-1:]
    file, number = ours[-1]
    return Place(type(error).__name__, f"{Path(file).relative_to(ROOT) if file.startswith(OURS) else file}:{number}")


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """A block that TooLong ends after so many CPU seconds."""

    def stop(*_: object) -> None:
        raise TooLong(f"more than {seconds:g} CPU seconds")

    former = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
