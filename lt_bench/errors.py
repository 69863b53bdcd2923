"""The errors of the suite, by who has to act; anything else that is raised is a defect and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """A wrong command line or config; the message says what to type."""


class SettingError(ValueError):
    """A parameter with a value that it cannot take, raised by the part that has the parameter.

    It reads "temperature is above 0, not -1": ``name`` is the parameter's own, ``rule`` what it must be, ``value`` what
    was given. ``usual`` is a value that can be taken, as it is typed. The key of the config is the caller's to add.
    """

    def __init__(self, name: str, rule: str, value: object, usual: object = None) -> None:
        super().__init__(name, rule, value, usual)
        self.name, self.rule, self.value, self.usual = name, rule, value, usual

    def __str__(self) -> str:
        return f"{self.name} is {self.rule}, not {self.value!r}"

    def under(self, key: str) -> UsageError:
        """The same for a user, who sets the parameter below ``key`` of the config."""
        usual = "VALUE" if self.usual is None else self.usual
        return UsageError(f"{key}.{self}; set {key}.{self.name}={usual}")


@contextmanager
def keyed(key: str) -> Iterator[None]:
    """What is built inside has its parameters below ``key`` of the config: a SettingError becomes a UsageError."""
    try:
        yield
    except SettingError as error:
        raise error.under(key) from error


@contextmanager
def renamed(**names: str) -> Iterator[None]:
    """Parameters of what is built inside have other names outside: ``renamed(size="queue_size")``."""
    try:
        yield
    except SettingError as error:
        name = names.get(error.name, error.name)
        raise SettingError(name, error.rule, error.value, error.usual) from error


class DataError(RuntimeError):
    """A data set that is missing, damaged or cannot be fetched; the message says what to do."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what to do."""


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite; the message names the step and what to try."""

    advice = (
        "try a lower train.lr, a longer warm-up (train.schedule.warm_epochs) or a higher temperature "
        "(for stage two: stage_two.train.lr)"
    )


class Interrupted(Exception):
    """The run was asked to stop and has written a checkpoint."""


def one_line(error: Exception) -> str:
    """What an error says, however many lines it takes, with its kind; at most 300 characters of it."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said if len(said) < 300 else f'{said[:300]}...'}"
