"""The names of the sets of logits that a network with several classifiers has; without PyTorch."""

from __future__ import annotations

MEAN = "mean"  # of the logits of all experts, where that is not what is evaluated


def expert_name(number: int) -> str:
    """The set of logits of one expert, counted from 0."""
    return f"expert{number}"


def branch_name(number: int) -> str:
    """The set of logits of one branch, counted from 0."""
    return f"branch{number}"
