"""Runs that differ in plain values alone share one composition, and have the configs that they have alone."""

import pytest

from lt_bench.config.compose import compose
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import plan
from lt_bench.preflight import packages
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities, identities_by_seed

SWEEPS = [
    ["method.title=batch_size", "stage_two.train.batch_size='${train.${method.title}}'", "train.batch_size=64"],
    ["seed=range(3)", "split_seed=1,2"],
    ["method=ce,gpaco", "seed=5", "train.lr=0.3", "train.epochs=200", "train.drop_last=true"],
    pytest.param(
        ["method=glob(*,exclude=[region_rebalance,segmentation_ce])", "seed=5", "train.lr=0.3", "train.epochs=200"],
        marks=pytest.mark.slow,
    ),
    ["method=sbcl,proco", "dataset=cifar100_lt", "split_seed=7", "train.batch_size=64", "imbalance.factor=20.0"],
    [
        "method=ce",
        "stage_two=glob(*,exclude=[gcl,router])",
        "train.batch_size=64",
        "train.optimizer.momentum=0.8",
        "evaluation.select=last",
    ],
    ["seed=3", "seed=4", "train={lr:0.2}", "method.temperature=0.3", "budget.epoch_scale=0.1,0.2"],
    ["fidelity=official", "method=paco,gpaco", "dataset=cifar10_lt", "train.lr=1", "dataset.download=false"],
    ["imbalance=if100,if50,native", "method=ce,glmc", "dataset=cifar10_lt,imagenet_lt"],
    ["imbalance=if50,native", "imbalance.factor=20", "method=ce"],
    ["imbalance=if50", "imbalance.profile=step", "method=reslt,ce", "train.lr='${imbalance.factor}'"],
    ["method=simclr", "method.temperature='${train[head_lr_factor]}'", "train.head_lr_factor=0.1,0.2"],
    ["split_seed='${[dataset][validation_per_class]}'", "dataset.validation_per_class=5,6"],
    ["split_seed='${ .seed}'", "seed=5,6"],
    ["split_seed='${ [train].batch_size }'", "train.batch_size=5,6"],
    # several words for one key, of which some are plain
    ["method=ce", "train.head_lr_factor=0.5", "train.head_lr_factor=1", "seed=0,1"],
    ["method=ce", "train.batch_size=5,6", "train.batch_size='7'"],
    ["split_seed=5", "split_seed='${train.batch_size}'", "split_seed=6", "seed=1", "seed='${train.batch_size}'"],
    ["split_seed=5", "split_seed='${train.batch_size}'"],
    # without their plain overrides these are refused
    ["dataset=image_folder", "dataset.root=A", "dataset.num_classes=3", "seed=0,1"],
    ["dataset.split_dir=D", "split_seed=1,2"],
    ["method=bcl", "train.microbatch=64", "train.microbatch_anyway=true", "seed=0,1"],
]


@pytest.mark.parametrize("overrides", SWEEPS)
def test_the_short_cut_for_plain_values_gives_the_same_configs(overrides):
    for run in plan(overrides):
        assert run.config == validate(compose(run.overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        *(["seed=1", "train.lr=0"], ["seed=1", "device=gpu"], ["sed=1"], ["seed=1.5"]),
        ["imbalance=native", "imbalance.profile=step"],
        ["imbalance=if50", "dataset=ade20k", "dataset.root=A", "method=segmentation_ce"],
        ["launch.nodes=2"],
        ["launch=slurm", "launch.runs_per_gpu=2", "launch.nodes=2"],
        ["launch=slurm", "launch.time_min=1", "launch.signal_delay_s=100", "seed=1"],
    ],
)
def test_the_short_cut_refuses_the_same(overrides):
    with pytest.raises(UsageError) as expected:
        validate(compose(overrides))
    with pytest.raises(UsageError) as found:
        plan(overrides)
    assert str(found.value).partition("\nin the run")[0] == str(expected.value)


def test_a_decoder_whose_package_is_missing_is_refused_in_a_sweep(monkeypatch):
    monkeypatch.setattr(packages, "module_file", lambda name: None)
    plan(["dataset=imagenet_lt", "seed=0,1"])
    with pytest.raises(UsageError, match=r"pip install 'lt_bench\[jpeg\]'"):
        plan(["dataset=imagenet_lt", "dataset.decoder=turbo", "seed=0,1"])


def test_runs_that_differ_in_plain_values_are_composed_once(monkeypatch):
    composed = []
    monkeypatch.setattr(
        "lt_bench.launch.planning.variants.compose", lambda overrides: composed.append(overrides) or compose(overrides)
    )
    sweep = ["method=ce,supcon", "imbalance=if50,native", "seed=range(20)", "train.head_lr_factor=0.5,0.6"]
    assert len(plan(sweep)) == 160 and len(composed) == 2


OWN_IMBALANCES = {"mine": "factor: 7\nprofile: step\n", "plain": "factor: 3\n"}


def test_an_imbalance_of_ones_own_is_composed(tmp_path, monkeypatch):
    for name, text in OWN_IMBALANCES.items():
        (tmp_path / "lt_bench_conf" / "imbalance").mkdir(parents=True, exist_ok=True)
        (tmp_path / "lt_bench_conf" / "imbalance" / f"{name}.yaml").write_text(text)
    experiment = tmp_path / "lt_bench_conf" / "experiment" / "tails.yaml"
    experiment.parent.mkdir()
    experiment.write_text("# @package _global_\ndefaults:\n  - override /imbalance: mine\nimbalance: {factor: 9}\n")
    monkeypatch.chdir(tmp_path)
    found = [["imbalance=mine,plain,if50"], ["experiment=tails", "imbalance=if50,plain"], ["experiment=tails"]]
    for words in found:
        for run in plan([*words, "method=ce"]):
            assert run.config == validate(compose(run.overrides))


def test_overrides_that_are_invalid_without_the_plain_ones_are_composed_so_only_once(monkeypatch):
    composed = []
    monkeypatch.setattr(
        "lt_bench.launch.planning.variants.compose", lambda overrides: composed.append(overrides) or compose(overrides)
    )
    assert len(plan(["dataset.split_dir=D", "split_seed=range(1,6)"])) == 5
    assert composed.count(("dataset.split_dir=D",)) == 1 and len(composed) == 6


SEEDED = [
    ["method=sbcl", "seed=range(2)", "split_seed=0,2", "train.batch_size=64"],
    ["method=simclr", "stage_two=linear_probe", "seed=0,4", "dataset=cifar10_lt"],
    ["seed=3", "split_seed=${seed}"],  # follows the seed
    ["seed=0,1", "evaluation.select=best_validation", "dataset.validation_per_class=5", "stage_two=none", "method=ce"],
]


@pytest.mark.parametrize("overrides", SEEDED)
def test_runs_that_differ_in_their_seed_have_the_identities_and_the_configs_that_they_have_alone(overrides):
    for run in plan(overrides):
        alone = validate(compose(run.overrides))
        assert run.config == alone
        assert (run.identity, run.stage_one) == identities(alone)


def test_seeds_are_refused_as_they_are_alone_and_the_last_of_several_counts():
    for words in (["seed=-1"], ["seed=-1", "train.lr=-1.0"], ["seed=true"]):
        with pytest.raises(UsageError) as expected:
            validate(compose(words))
        with pytest.raises(UsageError) as found:
            plan(words)
        assert str(found.value).partition("\nin the run")[0] == str(expected.value)
    assert [run.config.seed for run in plan(["seed=3", "seed=5"])] == [5]


def test_what_the_preflight_computes_for_a_seed_is_computed_once_for_all(monkeypatch):
    judged = []
    monkeypatch.setattr("lt_bench.launch.planning.variants.OF_VALUES", (lambda config: judged.append(config) or [],))
    monkeypatch.setattr(
        "lt_bench.launch.planning.variants.identities_by_seed",
        lambda config: judged.append(config) or identities_by_seed(config),
    )
    assert len(plan(["method=ce", "seed=range(30)", "train.batch_size=64"])) == 30 and len(judged) == 2
