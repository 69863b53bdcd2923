"""The errors of the suite, by who has to act; anything else that is raised is a defect and keeps its traceback."""

from __future__ import annotations


class UsageError(ValueError):
    """A wrong command line or config; the message says what to type."""


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
