"""Stage one's classifier where a rule needs it linear."""

import pytest
from torch import nn

from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.linear import linear_of_stage_one


def test_a_linear_classifier_is_taken_as_it_is():
    linear = nn.Linear(8, 3)
    assert linear_of_stage_one(linear, "lws") is linear


@pytest.mark.parametrize(("other", "name"), [(None, "none"), (NormalizedLinear(8, 3), "a NormalizedLinear")])
def test_anything_else_is_refused_with_what_to_set_instead(other, name):
    with pytest.raises(ValueError, match=f"stage_two=lws needs .* found {name}; set stage_two=cb .* stage_two=ncm"):
        linear_of_stage_one(other, "lws")
