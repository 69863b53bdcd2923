"""Values that depend on the imbalance."""

import pytest
from helpers.configs import settled

from lt_bench.config.compose import compose
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate


@pytest.mark.parametrize(
    ("imbalance", "value"),
    [("imbalance=if100", 0.995), ("imbalance=if50", 0.99), ("imbalance=if10", 0.72), ("imbalance=if200", 0.995)]
    + [("imbalance.factor=25", 0.99), ("imbalance.factor=2", 0.72), ("imbalance=native", 0.72)],
)
def test_the_value_is_that_of_the_nearest_factor(imbalance, value):
    found = settled("method=reslt", "dataset=cifar100_lt", imbalance).method["branch_weight"]
    assert found == value


def test_a_typed_value_is_for_every_factor():
    words = ["method=reslt", "dataset=cifar10_lt", "imbalance=if10", "method.branch_weight=0.5"]
    assert settled(*words).method["branch_weight"] == 0.5


@pytest.mark.parametrize("given", ["", "100", "100,0.5,10", "0,0.5", "a,b"])
def test_what_are_no_pairs_is_refused(given):
    with pytest.raises(UsageError, match="branch_weight"):
        validate(compose(["method=reslt", f"method.branch_weight='${{by_factor:{given}}}'"]))
