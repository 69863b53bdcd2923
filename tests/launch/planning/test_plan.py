"""Sweeps expand to the runs of their overrides, each once, and nothing invalid is planned."""

import pytest
from helpers.configs import refusal_to_plan as refusal

from lt_bench.config.compose import groups
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import describe, expand, plan
from lt_bench.record.identity import run_id, stage_one_id

METHODS = ", ".join(groups()["method"])
GRIDS = "sweep=[{method:ce,seed:'1,2'},{method:'sbcl,supcon',train.lr:0.3}]"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=1", ["seed=1"]),
        ("seed=1,2", ["seed=1", "seed=2"]),
        ("+seed=1,2", ["+seed=1", "+seed=2"]),
        ("seed=range(3)", ["seed=0", "seed=1", "seed=2"]),
        ("seed=range(1,6,2)", ["seed=1", "seed=3", "seed=5"]),
        ("train.lr=range(0.5,2,0.5)", ["train.lr=0.5", "train.lr=1.0", "train.lr=1.5"]),
        ("seed=choice(3,1)", ["seed=3", "seed=1"]),
        ("seed=sort(3,1)", ["seed=1", "seed=3"]),
        ("method=ce,sbcl", ["method=ce", "method=sbcl"]),
        ("method=glob(*)", [f"method={name}" for name in groups()["method"]]),
        ("method=glob(supco*)", ["method=supcon"]),
        ("method=glob([ce,balanced*,supcon],exclude=sup*)", ["method=balanced_softmax", "method=ce"]),
        (
            "method.subclass_temperature=null,0.1",
            ["method.subclass_temperature=null", "method.subclass_temperature=0.1"],
        ),
        ("method.views=[simclr,simclr],[plain]", ["method.views=[simclr,simclr]", "method.views=[plain]"]),
        ("progress=true", ["progress=true"]),
        ("method.cluster_view='a b','c,d'", ["method.cluster_view='a b'", "method.cluster_view='c,d'"]),
        ("method.beta=-0.5,1e-3", ["method.beta=-0.5", "method.beta=0.001"]),
        ("~method.beta", ["~method.beta"]),
        ("train={lr:0.5},{lr:0.6}", ["train={lr:0.5}", "train={lr:0.6}"]),
    ],
)
def test_every_way_to_write_a_sweep(override, expected):
    assert expand([override]) == [[text] for text in expected]


def test_an_experiment_without_its_grids_is_swept_as_typed():
    runs = plan(["experiment=digits_tuning", "sweep=[]", "seed=1,2"])
    assert [run.config.seed for run in runs] == [1, 2]
    assert all(run.overrides[-1] == "sweep=[]" and run.config.evaluation.split == "validation" for run in runs)


def test_a_shuffled_sweep_has_every_value():
    assert sorted(expand(["seed=shuffle(range(5))"])) == [[f"seed={seed}"] for seed in range(5)]


def test_expanded_overrides_expand_to_themselves():
    for override in (
        "method.cluster_view='a b','c,d','e\\'f',plain",
        "method.views=[a,b],[c]",
        "dataset.mean=[0,1,2],[1,1,1]",
    ):
        for one_run in expand([override]):
            assert expand(one_run) == [one_run]


def test_several_sweeps_make_a_grid_in_the_order_of_the_overrides():
    assert expand(["method=ce,sbcl", "device=cpu", "seed=1,2"]) == [
        [method, "device=cpu", seed] for method in ("method=ce", "method=sbcl") for seed in ("seed=1", "seed=2")
    ]


def test_grids_of_an_experiment():
    assert expand([GRIDS, "device=cpu"]) == [
        ["method=ce", "seed=1", "device=cpu", "sweep=[]"],
        ["method=ce", "seed=2", "device=cpu", "sweep=[]"],
        ["method=sbcl", "train.lr=0.3", "device=cpu", "sweep=[]"],
        ["method=supcon", "train.lr=0.3", "device=cpu", "sweep=[]"],
    ]


def test_the_command_line_overrides_a_grid():
    assert expand([GRIDS, "method=supcon"]) == [
        ["seed=1", "method=supcon", "sweep=[]"],
        ["seed=2", "method=supcon", "sweep=[]"],
        ["train.lr=0.3", "method=supcon", "sweep=[]"],
    ]
    assert expand([GRIDS, "++train.lr=1,2", "method=ce", "seed=0"])[-1] == [
        "++train.lr=2",
        "method=ce",
        "seed=0",
        "sweep=[]",
    ]


def test_values_in_a_grid_need_no_quotes_where_yaml_has_the_type():
    grid = "sweep=[{imbalance.factor:null,stage_two.augment:false,dataset.mean:[0,0.5,1]}]"
    (run,) = plan([grid])
    assert run.config.imbalance.factor is None and run.config.stage_two.options["augment"] is False
    assert run.config.dataset.mean == [0.0, 0.5, 1.0]


def test_a_file_with_grids_and_one_without_in_one_sweep():
    found = expand(["experiment=digits_tuning,none", "seed=0"])
    assert found[-1] == ["experiment=none", "seed=0"] and len(found) > 2
    assert all(one_run[-1] == "sweep=[]" for one_run in found[:-1])


def test_a_plan_is_what_can_be_typed():
    runs = plan(["method=ce", "stage_two=none,cb", "seed=1,2"])
    assert [run.overrides for run in runs][0] == ("method=ce", "stage_two=none", "seed=1")
    assert len({run.identity for run in runs}) == 4 and len({run.stage_one for run in runs}) == 2
    for run in runs:
        (again,) = plan(run.overrides)
        assert again == run
        assert (run_id(run.config), stage_one_id(run.config)) == (run.identity, run.stage_one)
        assert not run.done and run.folder.name == run.identity and run.stage_one_folder.name == run.stage_one


def test_runs_that_are_the_same_are_planned_once():
    assert len(plan(["seed=1,1,2"])) == 2
    assert len(plan(["method=sbcl,supcon", "train.sampler=shuffle", "seed=0,0"])) == 2
    assert len(plan(["imbalance=if20,if10", "imbalance.factor=10"])) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=interval(0,3)"], "seed=interval(0,3): an interval is not a list of values"),
        (["seed=glob(*)"], "seed=glob(*) matches nothing; seed= takes no files, because seed is no group"),
        (["method=glob(z*)"], f"method=glob(z*) matches nothing; method= takes {METHODS}"),
        (["method=ce,foo"], f"unknown method 'foo'; method= takes {METHODS}\nin the run method=foo"),
        (["method=ce,sbcl", "stage_two=none"], "\nin the run method=sbcl stage_two=none"),
        (["seed=1,x"], "seed=x is of the wrong kind; seed= takes a whole number\nin the run seed=x"),
        (["output_dir=a,b"], "output_dir=a,b: output_dir does not change the result; give it one value"),
        (["launch.parallel_runs=1,2"], "does not change the result"),
        (["device=cpu,cuda"], "does not change the result"),
        (["launch=local,local"], "does not change the result"),
        (["sweep=[{device:'cpu,cuda'}]"], "does not change the result"),
        (["sweep=[{sed:'1,2'}]"], "unknown key sed (did you mean seed?)"),
        (["sweep=[{seed:[1,2]}]"], "seed=[1, 2] is of the wrong kind"),
        (["sweep=[1]"], "sweep=[1] is of the wrong kind; sweep= takes a list"),
        (["sweep=3"], "sweep=3 is of the wrong kind"),
        (["experiment=foo,none"], "unknown experiment 'foo'"),
        (["~seed"], "only a parameter of a class"),
        (["seed=1 ,"], "cannot read"),
    ],
)
def test_what_is_refused_and_how(overrides, message):
    assert message in refusal(*overrides)


def test_describe(tmp_path):
    (run,) = plan([f"output_dir={tmp_path}"])
    expected = f"run {run.identity} (to do) on stage one {run.stage_one} (to do) in {tmp_path}"
    assert describe(run.config) == expected


def test_a_sweep_without_runs_is_refused():
    with pytest.raises(UsageError, match="expands to no run"):
        plan(["method=ce", "seed=range(0)"])


@pytest.mark.parametrize("word", ["sweep=${nope}", "sweep=${sweep}", "sweep=[${nope}]"])
def test_grids_that_refer_to_nothing_are_refused(word):
    assert "sweep" in refusal(word)
