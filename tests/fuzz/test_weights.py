"""Weights and checkpoints that are changed at random are read whole or refused in the project's own words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lt_bench.errors import CheckpointError
from tests.fuzz import trainings, weights


@pytest.mark.parametrize(("module", "examples"), [(weights, 150), (trainings, 40)])
def test_what_is_changed_at_random_is_read_or_refused(module, examples):
    ((name, reader),) = module.READERS.items()
    seen = []

    @settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck], database=None
    )
    @given(reader.inputs)
    def tried(one):
        try:
            reader.read(one)
            seen.append("read")
        except reader.allowed:
            seen.append("refused")

    tried()
    assert len(seen) >= examples / 2 and {*seen} == {"read", "refused"}, name


@pytest.mark.parametrize("form", weights.FORMATS)
@given(prefix=st.sampled_from(["", "module.encoder_q", "state_dict", "_orig_mod.model"]))
@settings(max_examples=4, deadline=None, derandomize=True, database=None)
def test_what_is_not_changed_is_read(form, prefix):
    changes = [("prefix", 0, prefix)] if prefix else []
    weights.read(weights.Weights(changes, form, 2, [], 10**6, ".pth", None, False))
    trainings.read((0, []))


def test_a_step_after_the_last_epoch_is_no_position():
    places = [key for _, key in trainings._places(trainings._valid()[0])]
    change = trainings.Change(places.index("step"), "replace", 1)
    with pytest.raises(CheckpointError, match="its step is 1, of 0"):
        trainings.read((0, [change]))
