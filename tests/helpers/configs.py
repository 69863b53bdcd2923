"""What becomes of words on a command line: a config that settles, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lt_bench.config.compose import compose
from lt_bench.config.schema import Config
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight.validate import validate


def settled(*words: str) -> Config:
    """The config of some words, checked and with every reference resolved."""
    return validate(compose(words))


def refusal(*words: str) -> str:
    """What the words of a run are refused with."""
    return _refused(lambda given: settled(*given), words)


def refusal_to_compose(*words: str) -> str:
    """What the words of a config are refused with as it is composed, before its values are checked."""
    return _refused(compose, words)


def refusal_to_plan(*words: str) -> str:
    """What the words of a sweep are refused with, which is what a dry run and a run begin with."""
    return _refused(plan, words)


def _refused(take: Callable[[Sequence[str]], Any], words: Sequence[str]) -> str:
    with pytest.raises(UsageError) as caught:
        take(words)
    return str(caught.value)
