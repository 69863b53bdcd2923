"""What Hydra's grammar of sweeps allows and nobody can mean is refused before it is written out."""

import pytest
from helpers.configs import refusal_to_plan as refusal

from lt_bench.config.compose import parse
from lt_bench.config.sweeps import MOST_RUNS
from lt_bench.launch.planning.plan import expand


@pytest.mark.parametrize(
    "word",
    [
        "seed=0,range(3)",
        "seed=[range(3)]",
        "train={lr:range(3)}",
        "method={a:[glob(*)]}",
        "seed=choice(choice(1,2),3)",
        "method.views=[[interval(0,1)]]",
    ],
)
def test_a_sweep_inside_another_value_is_refused(word):
    assert "stands alone after the equals sign; write all values, as in seed=0,1,2" in refusal(word)


@pytest.mark.parametrize(
    "word", ["seed={}", "train.lr=-{}", "dataset.mean=[1,{},1]", "method={{a:{}}}", "seed=0,{}", "seed=range({},{})"]
)
def test_a_whole_number_beyond_all_floats_is_refused(word):
    large = "1" + "0" * 400
    assert "a number of this size is none that can be computed with" in refusal(word.format(large, f"{large[:-1]}1"))


@pytest.mark.parametrize("bounds", ["inf", "0,nan", "0,1,inf", "-inf,0", "0,1e400,1", "nan,nan,nan"])
def test_bounds_of_a_range_are_finite(bounds):
    assert "are finite numbers; write range(START,STOP,STEP)" in refusal(f"train.lr=range({bounds})")


@pytest.mark.parametrize("step", ["0", "0.0", "-0.0"])
def test_a_step_is_not_0(step):
    assert "the step of a range is not 0" in refusal(f"train.lr=range(0,1,{step})")


@pytest.mark.parametrize(
    "sweep", ["range(1000000000)", "range(0,1,1e-9)", "shuffle(range(1e9))", "sort(range(0,1e9,3),reverse=true)"]
)
def test_a_long_range_is_refused_before_it_is_written_out(sweep):
    assert f"a range of more than {MOST_RUNS:,} values; write a shorter one" in refusal(f"seed={sweep}")


def test_a_range_of_the_most_values_is_read():
    parse([f"seed=range({MOST_RUNS})", f"seed=range(0,{MOST_RUNS},1.0)", f"seed=range({MOST_RUNS},0,-1)"])
    assert f"more than {MOST_RUNS:,}" in refusal(f"seed=range({MOST_RUNS + 1})")


@pytest.mark.parametrize("words", [["seed=range(1000)", "split_seed=range(1000)"], ["sweep=[{seed:'range(1e9)'}]"]])
def test_many_combinations_are_refused_before_they_are_written_out(words):
    assert f"{MOST_RUNS:,}" in refusal(*words)


def test_grids_count_together(monkeypatch):
    monkeypatch.setattr("lt_bench.launch.planning.plan.MOST_RUNS", 5)
    assert len(expand(["sweep=[{seed:'1,2'},{seed:'3,4,5'}]"])) == 5
    assert "names 6 runs or more, and takes 5" in refusal("sweep=[{seed:'1,2'},{seed:'3,4,5,6'}]")
