"""Stage one's linear classifier, for the rules that go on from it."""

from __future__ import annotations

from torch import nn

from lt_bench.errors import UsageError


def linear_of_stage_one(classifier: nn.Module | None, rule: str) -> nn.Linear:
    """The classifier if it is linear in the features; raises UsageError with what to set instead of ``rule``."""
    if isinstance(classifier, nn.Linear):
        return classifier
    found = "none" if classifier is None else f"a {type(classifier).__name__}"
    raise UsageError(
        f"stage_two={rule} needs a plain linear classifier (nn.Linear) of stage one, and found {found}; "
        "set stage_two=cb (a new linear classifier) or stage_two=ncm (class means)"
    )
