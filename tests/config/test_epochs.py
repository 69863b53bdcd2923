"""Numbers of epochs: what moves with those that are typed, and what stays."""

import itertools
import re
from itertools import pairwise

import pytest
from helpers.configs import settled
from helpers.sampling import each_value_once, methods_for
from hydra.utils import get_object
from omegaconf import OmegaConf

from lt_bench.config.compose import compose
from lt_bench.config.epochs import longer_part
from lt_bench.config.schema import flat, node, plain
from lt_bench.config.signatures import class_attribute
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import expand, plan
from lt_bench.record.identity import run_id

LDAM = ("method=ldam_drw", "dataset=cifar100_lt")


def lengths(config, stage="train"):
    training = node(config, stage)
    return {key: training.schedule.get(key) for key in ("epochs", "warm_epochs", "milestones")} | {
        "all": training.epochs
    }


def test_what_is_counted_in_epochs_moves_with_those_that_are_typed():
    config = settled(*LDAM, "train.epochs=100")
    assert lengths(config) == {"all": 100, "epochs": None, "warm_epochs": 2, "milestones": [80, 90]}
    assert (config.method["drw_start_epoch"], config.train.recipe_epochs) == (80, 200)
    assert config.budget.moved == [
        "train.schedule.milestones", "train.schedule.warm_epochs", "method.drw_start_epoch",
    ]  # fmt: skip
    assert (config.budget.name, config.budget.in_records) == ("paper", "custom")
    assert config == settled(*LDAM, "train={epochs:100}")


def test_each_stage_moves_by_itself():
    words = ("dataset=cifar100_lt", "stage_two=ldam_drw")
    one, two = settled(*words, "train.epochs=500"), settled(*words, "stage_two.train.epochs=100")
    assert (one.method["warm_epochs"], one.train.schedule["warm_epochs"]) == (5, 5)
    assert lengths(one, "stage_two.train") == lengths(settled(*words), "stage_two.train")
    assert lengths(two, "stage_two.train")["milestones"] == [70, 90] and two.method["warm_epochs"] == 10


def test_what_is_typed_is_literal():
    config = settled(*LDAM, "train.epochs=100", "train.schedule.milestones=[7,95]", "method.drw_start_epoch=99")
    assert lengths(config)["milestones"] == [7, 95] and config.method["drw_start_epoch"] == 99
    assert config.budget.moved == ["train.schedule.warm_epochs"]
    reference = settled(*LDAM, "train.epochs=100", "method.drw_start_epoch='${epochs:40}'")
    assert reference.method["drw_start_epoch"] == 20


def test_epochs_of_the_recipe_that_are_typed_change_nothing():
    for words in (("train.epochs=150",), ("stage_two.train.epochs=45",), ("train.epochs=15", "budget=short")):
        assert settled(*words) == settled(*(word for word in words if "epochs" not in word))


def test_typed_epochs_are_literal_under_a_budget_and_the_rest_keeps_its_proportion():
    scaled, plain_ = settled(*LDAM, "train.epochs=100", "budget=short"), settled(*LDAM, "train.epochs=100")
    assert lengths(scaled) == lengths(plain_) and scaled.method == plain_.method
    assert settled(*LDAM, "train.epochs=100", "budget=short", "stage_two=cb").stage_two.train.epochs == 4


def test_without_rescaling_only_the_epochs_change():
    words = ("method=bcl", "dataset=fashion_mnist_lt", "train.epochs=30", "budget.rescale=false")
    config = settled(*words)
    assert lengths(config) == lengths(settled(*words[:2])) | {"all": 30}
    assert (config.budget.moved, config.budget.in_records, config.train.recipe_epochs) == ([], "paper", 24)


def test_the_same_lengths_are_the_same_run_however_they_are_typed():
    typed = ("train.schedule.milestones=[80,90]", "train.schedule.warm_epochs=2", "method.drw_start_epoch=80")
    assert run_id(settled(*LDAM, "train.epochs=100")) == run_id(settled(*LDAM, "train.epochs=100", *typed))
    assert run_id(settled(*LDAM, *typed, "train.epochs=100", "budget.rescale=false")) == run_id(
        settled(*LDAM, "train.epochs=100")
    )


def test_in_a_sweep_each_run_moves():
    runs = plan([*LDAM, "train.epochs=50,100", "seed=0,1"])
    assert [run.config.method["drw_start_epoch"] for run in runs] == [40, 40, 80, 80]


def test_epochs_in_an_experiment_are_the_recipes():
    words = ("experiment=bcl_cifar_400", "method=bcl", "dataset=cifar100_lt")
    assert settled(*words, "sweep=[]").train.recipe_epochs is None
    config = settled(*words, "sweep=[]", "train.epochs=100")
    assert lengths(config)["milestones"] == [90, 95] and config.train.recipe_epochs == 400


@pytest.mark.parametrize("training", ["train", "stage_two.train"])
def test_the_length_of_a_recipe_alone_says_nothing(training):
    with pytest.raises(UsageError) as caught:
        settled(*LDAM, "stage_two=cb", f"{training}.recipe_epochs=100")
    assert str(caught.value) == (
        f"{training}.recipe_epochs says how long the recipe is where other epochs are typed, and none are; add "
        f"{training}.epochs=N, or leave it out"
    )
    same = settled(*LDAM, "stage_two=cb", f"{training}.recipe_epochs=null")
    assert (same.budget.moved, same.train.recipe_epochs) == ([], None)


@pytest.mark.parametrize(
    "experiment",
    ["fashion_controls", *(pytest.param(name, marks=pytest.mark.slow) for name in ("crt_large", "sbcl_imagenet"))],
)
def test_experiments_with_epochs_of_their_own_say_whatever_is_not_to_move(experiment):
    """Their grids are typed words; the runs are those that were published."""
    every = [words for words in expand([f"experiment={experiment}"]) if not {"seed=1", "seed=2"} & {*words}]
    own = [words for words in every if any(".epochs=" in word or "epochs:" in word for word in words)]
    assert own
    for words in own:
        assert run_id(settled(*words)) == run_id(settled(*words, "budget.rescale=false"))


@pytest.mark.parametrize("scale", ["train.epochs=5", "budget.epoch_scale=0.0124"])
def test_a_schedule_of_two_parts_is_as_long_as_the_longer(scale):
    config = settled("method=sbcl_moco", "dataset=imagenet_lt", "stage_two=ncm", scale)
    assert (config.method["warm_epochs"], config.train.schedule["epochs"]) == (2, 3)
    assert settled("method=sbcl_moco", "method.warm_epochs=10").train.schedule["epochs"] == 140
    assert [longer_part(first, 10) for first in (3, 5, 9)] == [7, 5, 9]


def test_what_lies_inside_a_recipe_stays_inside_where_rounding_would_take_it_to_the_end():
    assert lengths(settled("method=ce", "train.epochs=2"))["milestones"] == [1, 1]
    assert lengths(settled("method=ce", "budget.epoch_scale=0.01"))["milestones"] == [2, 2]  # 2.4 and 2.7 of 3
    never = settled("method=sbcl", "method.update_interval='${epochs:600}'", "train.epochs=3")
    assert never.method["update_interval"] == 12  # lies outside


@pytest.mark.parametrize(
    ("words", "late"),
    [
        ((), 1.0),
        (("fidelity=official",), 1.0),
        (("fidelity=official", "budget=short"), 0.1),
        (("fidelity=official", "budget.epoch_scale=2"), 2.0),
        (("fidelity=official", "train.epochs=40"), 0.04),
        (("fidelity=official", "train.epochs=40", "budget.rescale=false"), 1.0),
    ],
)
def test_a_quirk_that_is_counted_in_epochs_moves_too(words, late):
    assert settled("dataset=cifar100_lt", *words).train.schedule.get("late_epochs", 1.0) == pytest.approx(late)
    if "train.epochs=40" not in words:
        assert settled("method=paco", "dataset=cifar100_lt", *words).train.schedule["late_epochs"] == late


def test_the_official_warm_up_starts_under_a_budget_where_it_starts_without():
    for words in ((), ("budget=short",)):
        config = settled("dataset=cifar100_lt", "fidelity=official", *words)
        values = {key: value for key, value in config.train.schedule.items() if key != "_target_"}
        schedule = get_object(config.train.schedule["_target_"])(**values)
        rates = [schedule(epoch, step, 10) for epoch in range(config.train.epochs) for step in range(10)]
        assert rates[0] == min(rates) == pytest.approx(-0.039, abs=1e-3) and max(rates) <= 0.5


def recipe_of(*words):
    """The epochs that files count: per stage those of the stage, and every other value's, by key."""
    raw = flat(OmegaConf.to_container(compose(words), resolve=False))
    found = {key: [float(n) for n in re.findall(r"\$\{epochs:([\d.]+)\}", str(value))] for key, value in raw.items()}
    return {key: counts for key, counts in found.items() if counts}


ONE = ("train.", "method.")
EVENTS = ("milestones", "switch_epoch", "warm_epochs", "drw_start_epoch")
METHODS = [name for name in methods_for() if name != "none"]
TYPED = list(itertools.product(METHODS, ["digits_lt", "cifar100_lt", "imagenet_lt"], [1, 2, 3, 5, 7, 60]))


def check(config, recipe, stage):
    """Events are inside the run, proportions kept within rounding, and rates end as in the recipe."""
    training, values = node(config, stage), flat(plain(config))
    of = recipe[f"{stage}.epochs"][0]
    own = ("stage_two.",) if stage == "stage_two.train" else ONE
    for key, value in values.items():
        if key.startswith(own) and key.rpartition(".")[2] in EVENTS and value is not None:
            assert max(value if isinstance(value, list) else [value], default=0) < training.epochs, key
    for key, counts in recipe.items():
        if key.startswith(own) and key != f"{stage}.epochs":
            for count, now in zip(counts, values[key] if isinstance(values[key], list) else [values[key]], strict=True):
                assert abs(now - count * training.epochs / of) <= 1, key
    schedule = get_object(training.schedule["_target_"])(
        **{key: value for key, value in training.schedule.items() if key != "_target_"}
    )
    parts = [training.epochs]
    if (restart := class_attribute(config.method["_target_"], "restarts_at")) is not None:
        warm = config.method[restart]
        parts = [warm, training.epochs - warm] if stage == "train" else parts
    for length in parts:
        rates = [schedule(epoch, 0, 1) for epoch in range(length)]
        peak = rates.index(max(rates))
        assert max(rates) > 0.1 * training.lr and all(a >= b * (1 - 1e-9) for a, b in pairwise(rates[peak:]))
    if milestones := training.schedule.get("milestones"):
        assert rates[-1] == pytest.approx(training.lr * training.schedule["gamma"] ** len(milestones))


def settled_or_advised(advice, *words):
    """The config of some words; None where they are refused, each line with the advice."""
    try:
        return settled(*words)
    except UsageError as error:
        assert all(advice in line for line in str(error).splitlines()), error
    return None


@pytest.mark.parametrize(("method", "dataset", "epochs"), each_value_once(TYPED, of_families=True, in_all=True))
def test_every_method_keeps_its_proportions_at_any_length_or_is_refused_with_advice(method, dataset, epochs):
    words = (f"method={method}", f"dataset={dataset}")
    config = settled_or_advised("set train.epochs=2", *words, f"train.epochs={epochs}")
    assert config or epochs == 1
    if config:
        recipe = recipe_of(*words)
        assert epochs > 1 or not any(key.rpartition(".")[2] in EVENTS for key in recipe if key.startswith(ONE))
        check(config, recipe, "train")


RULES = list(itertools.product(["cb", "ldam_drw", "lws", "linear_probe", "few_shot_probe"], [1, 2, 3, 5, 7, 60]))


@pytest.mark.parametrize(("rule", "epochs"), each_value_once(RULES))
def test_every_rule_keeps_its_proportions_at_any_length_or_is_refused_with_advice(rule, epochs):
    words = ("method=ce", f"stage_two={rule}")
    config = settled_or_advised("set stage_two.train.epochs=2", *words, f"stage_two.train.epochs={epochs}")
    assert config or epochs == 1
    if config:
        check(config, recipe_of(*words), "stage_two.train")


SCALES = list(itertools.product(METHODS, ["digits_lt", "fashion_mnist_lt", "cifar100_lt"], [0.5, 0.1, 0.05, 0.02]))


@pytest.mark.parametrize(("method", "dataset", "scale"), each_value_once(SCALES, of_families=True, in_all=True))
def test_every_method_is_consistent_under_a_budget_or_refused_with_advice(method, dataset, scale):
    words = (f"method={method}", f"dataset={dataset}")
    config = settled_or_advised("train.epochs=2 or more", *words, f"budget.epoch_scale={scale}")
    if config:
        values = flat(plain(config))
        for key in recipe_of(*words):
            if key.startswith(ONE) and key.rpartition(".")[2] in EVENTS:
                assert max(values[key] if isinstance(values[key], list) else [values[key]]) < config.train.epochs, key
