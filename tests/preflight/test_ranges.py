"""Every range of the schema is checked."""

import math
from copy import deepcopy

import pytest

from lt_bench.config.compose import compose
from lt_bench.config.keys import fields_of, find
from lt_bench.config.schema import Config, node
from lt_bench.errors import UsageError
from lt_bench.preflight.ranges import out_of_range
from lt_bench.preflight.validate import validate


def limited(owner=Config, prefix=""):
    """The keys with a range, a length or words, with what each of them says about itself."""
    for name in fields_of(owner):
        key = find(prefix + name)
        if key.below:
            yield from limited(key.below, f"{prefix}{name}.")
        elif (
            key.setting.choices
            or key.setting.length
            or math.inf > min(-key.setting.least, key.setting.most, -key.setting.above)
        ):
            yield prefix + name, key.setting


def wrong_values(setting):
    """Values that a setting does not take, and what is said about them."""
    if setting.choices:
        yield "no such word", ", ".join(setting.choices)
        return
    many = setting.length or 0
    if many:
        yield [1.0] * (many + 1), f"a list of {many} numbers"
    bounds = f" from {setting.least:g}" * (setting.least > -math.inf) + f" to {setting.most:g}" * (
        setting.most < math.inf
    )
    for wrong in (setting.least - 1, setting.most + 1, math.nan):
        said = f"{'' if bounds else 'finite '}numbers{bounds}"
        yield ([wrong] * many if many else wrong), said
    if setting.above > -math.inf:
        yield ([setting.above] * many if many else setting.above), f"numbers above {setting.above:g}"


LIMITED = dict(limited())


@pytest.fixture(scope="module")
def config():
    return validate(compose(["stage_two=cb"]))


def given(config, key, value):
    """The config with another value of a key, which nothing has checked."""
    changed, (above, _, name) = deepcopy(config), key.rpartition(".")
    owner = node(changed, above) if above else changed
    owner.update({name: value}) if isinstance(owner, dict) else setattr(owner, name, value)
    return changed


@pytest.mark.parametrize("key", LIMITED)
def test_a_value_out_of_range_is_refused(key, config):
    assert list(out_of_range(config)) == []
    for value, said in wrong_values(LIMITED[key]):
        (problem,) = out_of_range(given(config, key, value))
        assert problem.startswith(f"{key}=") and problem.endswith(f": {key}= takes {said}")


@pytest.mark.parametrize("key", LIMITED)
def test_the_edges_of_a_range_are_in_it(key, config):
    setting = LIMITED[key]
    for value in (setting.least, setting.most, *setting.choices):
        if isinstance(value, str) or (math.isfinite(value) and value > setting.above):
            assert list(out_of_range(given(config, key, [value] * setting.length if setting.length else value))) == []


def test_ranges_of_both_stages_and_of_nodes_that_name_a_class_are_among_them():
    assert {"train.lr", "stage_two.train.lr", "backbone.input_pool", "launch.mem_gb", "seed"} <= LIMITED.keys()
    assert len(LIMITED) >= 70


@pytest.mark.parametrize("value", [math.inf, 10**400, [1, -(10**400)]])
def test_parameters_of_classes_are_finite(value, config):
    (problem,) = out_of_range(given(config, "method.beta", value))
    assert problem.endswith(": method.beta= takes finite numbers")


@pytest.mark.parametrize("scale", ["1e308", "1e7", "-1e308", "0"])
@pytest.mark.parametrize("words", [(), ("train.epochs=3",)])
def test_a_budget_that_multiplies_beyond_all_numbers_is_refused_under_its_own_key(words, scale):
    with pytest.raises(UsageError, match="budget.epoch_scale= takes"):
        validate(compose([*words, f"budget.epoch_scale={scale}"]))
