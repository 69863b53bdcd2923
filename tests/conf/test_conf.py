"""Every file in conf/ says what it is, and everything that can be chosen composes and passes the preflight."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from helpers.chain import can_be, method_for
from helpers.sampling import each_value_once, methods_for, of_one_task, one_of_each_family

from lt_bench.config.compose import about, compose, groups
from lt_bench.config.recipes import PLAIN, of_variant, short_for
from lt_bench.config.signatures import parameters
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import expand
from lt_bench.preflight.validate import validate

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
TABLES = ("recipes.yaml", "reproduces.yaml")
OWN = {
    "image_folder": ["dataset.num_classes=12"],
    "timm": ["backbone.model=resnet18.a1_in1k"],
}  # what only its user knows
RECIPES = [recipe for recipe in groups()["recipe"] if recipe != "none"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_begins_with_what_it_is(path):
    first, second = [*path.read_text().splitlines(), ""][:2]
    comment = second if first.startswith("# @package ") else first
    assert re.match(r"# \S", comment) and "@package" not in comment
    assert len(path.read_text().splitlines()) <= 30 or path.name in TABLES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_a_file_that_reaches_beyond_its_group_says_so(path):
    text = path.read_text()
    content = yaml.safe_load(text) or {}
    nodes = {"dataset", "method", "train", "stage_two", "budget", "fidelity", "sweep", "evaluation"}
    if path.parent != CONF and nodes & set(content):
        assert text.startswith("# @package _global_\n") or path.parent.name == "stage_two"


def test_a_choice_without_a_name_of_its_own_is_called_by_what_it_sets():
    for choice in groups()["fidelity"]:
        assert compose([f"fidelity={choice}"]).fidelity == choice
    for choice in groups()["imbalance"]:
        factor = compose([f"imbalance={choice}"]).imbalance.factor
        assert choice == ("native" if factor is None else f"if{factor:g}")


def test_recipes_and_quirks_are_named_after_what_they_are_for():
    pairs = {f"{method}_{dataset}" for method in groups()["method"] for dataset in groups()["dataset"]}
    assert {recipe.removesuffix("_strong") for recipe in RECIPES} <= pairs
    assert set(groups()["quirks"]) <= {f"{method}_official" for method in groups()["method"]}


@pytest.mark.parametrize(
    ("method", "dataset"),
    each_value_once(of_one_task(), of_families=True),
)
def test_every_method_composes_and_settles_on_every_data_set(method, dataset):
    config = validate(compose([f"dataset={dataset}", f"method={method}", *OWN.get(dataset, [])]))
    assert (config.method["name"], config.dataset.name) == (method, dataset)


OWN_RULE = "its own"  # the rule that a method suggests
FORMS = [*((rule, "clean") for rule in groups()["stage_two"]), (OWN_RULE, "official")]
OF_METHODS = [(method, *form) for method in methods_for() for form in FORMS]


@pytest.mark.parametrize(("method", "stage_two", "fidelity"), each_value_once(OF_METHODS, of_families=True))
def test_exactly_the_possible_rules_and_fidelities_settle(method, stage_two, fidelity):
    rule = compose([f"method={method}"]).stage_two.name if stage_two == OWN_RULE else stage_two
    words = [f"method={method}", f"stage_two={rule}", f"fidelity={fidelity}"]
    quirks = f"{short_for(method).get('method', method)}_official"
    if can_be(method, rule) and (fidelity == "clean" or quirks in groups()["quirks"]):
        assert validate(compose(words)).stage_two.name == rule
    else:
        with pytest.raises(UsageError):
            validate(compose(words))


@pytest.mark.parametrize("group", ["imbalance", "backbone", "launch", "optimizer"])
def test_every_choice_of_the_smaller_groups_settles(group):
    for choice in groups()[group]:
        config = validate(compose([f"{group}={choice}", *OWN.get(choice, [])]))
        # a network of timm is called by its model
        assert group != "backbone" or config.backbone["name"] == config.backbone.get("model", choice)


WITH_CB = [(method, "cb") for method in methods_for()]
WITH_EACH = [(method_for(rule), rule) for rule in groups()["stage_two"]]
UNDER_BUDGETS = [(*pair, budget) for budget in groups()["budget"] for pair in dict.fromkeys([*WITH_CB, *WITH_EACH])]


@pytest.mark.parametrize(
    ("method", "stage_two", "budget"), each_value_once(UNDER_BUDGETS, of_families=True, in_all=True)
)
def test_every_method_and_rule_settles_under_every_budget(method, stage_two, budget):
    """Schedules have lengths that must still fit when a budget has rounded them."""
    config = validate(compose([f"budget={budget}", f"method={method}", f"stage_two={stage_two}"]))
    assert (config.budget.name, config.method["name"], config.stage_two.name) == (budget, method, stage_two)


def parts(recipe):
    """The method, the data set and the variant of a recipe."""
    variant = of_variant(recipe, groups()["variant"])
    plain = recipe.removesuffix(f"_{variant}")
    (dataset,) = (name for name in groups()["dataset"] if plain.endswith(f"_{name}"))
    return plain.removesuffix(f"_{dataset}"), dataset, variant


@pytest.mark.parametrize(("method", "dataset", "variant"), each_value_once(map(parts, RECIPES), of_families=True))
def test_every_recipe_is_taken_by_its_method_and_data_set(method, dataset, variant):
    words, ending = [f"method={method}", f"dataset={dataset}"], "" if variant == PLAIN else f"_{variant}"
    named = compose([*words, f"recipe={method}_{dataset}{ending}"])
    assert compose([*words, f"variant={variant}"]) == named
    validate(compose([*words, "recipe=none"]))


PLACES = (0, 0.5, 1)  # of a run among those of an experiment


@pytest.mark.parametrize(("experiment", "place"), each_value_once(itertools.product(groups()["experiment"], PLACES)))
def test_every_experiment_expands_to_runs_that_settle(experiment, place):
    runs = expand([f"experiment={experiment}"])
    assert len({tuple(words) for words in runs}) == len(runs) >= 1
    assert validate(compose(runs[int(place * (len(runs) - 1))])).sweep == []
    if len(runs) > 1:
        assert f"-m experiment={experiment}" in about("experiment", experiment)


# Order of power, by keys of real files; all levels at once are in tests/test_compose.py.


def test_a_data_set_suggests_backbone_and_imbalance():
    found = {name: compose([f"dataset={name}"]) for name in ("digits_lt", "cifar100_lt")}
    assert {name: (c.backbone.name, c.imbalance.factor) for name, c in found.items()} == {
        "digits_lt": ("tiny", 20),
        "cifar100_lt": ("resnet32_cifar", 100),
    }
    typed = compose(["imbalance=if10", "backbone=tiny", "dataset=cifar100_lt"])
    assert (typed.backbone.name, typed.imbalance.factor) == ("tiny", 10)


def test_a_method_suggests_a_stage_two():
    assert [compose([f"method={name}"]).stage_two.name for name in ("ce", "sbcl")] == ["none", "cb"]
    assert compose(["stage_two=ldam_drw", "method=ce"]).stage_two.name == "ldam_drw"


def test_a_recipe_beats_its_method_an_experiment_the_recipe_and_the_command_line_all():
    method, recipe = compose(["recipe=none"]), compose()
    assert (method.train.batch_size, recipe.train.batch_size) == (1024, 128)
    assert compose(["train.batch_size=64"]).train.batch_size == 64
    experiment = compose(["experiment=digits_tuning"])
    assert (recipe.dataset.validation_per_class, experiment.dataset.validation_per_class) == (0, 40)
    assert compose(["dataset.validation_per_class=7", "experiment=digits_tuning"]).dataset.validation_per_class == 7


def test_quirks_beat_a_recipe():
    clean, official = compose(["dataset=cifar100_lt"]), compose(["dataset=cifar100_lt", "fidelity=official"])
    assert "clustering" not in clean.method or clean.method.clustering == "balanced"
    assert official.method.clustering == "kmeans_official" and official.method.beta == clean.method.beta
    assert official.train.schedule.warmup_mode == "official" and official.train.epochs == 1000


def test_supcon_is_below_sbcl():
    """SBCL's file builds on SupCon's: what it does not name is SupCon's."""
    sbcl, supcon = (compose([f"method={name}", "recipe=none"]) for name in ("sbcl", "supcon"))
    assert sbcl.train == supcon.train and sbcl.method.temperature == supcon.method.temperature


@pytest.mark.parametrize("method", one_of_each_family(methods_for()))
def test_a_temperature_that_losses_are_divided_by_stands_in_the_recipe(method):
    node = compose([f"method={method}", "recipe=none"]).method
    bases = {name for name in parameters(node._target_) if name.endswith("base_temperature")}
    assert bases <= node.keys()
    assert bool(bases) == (node.name in ("supcon", "sbcl", "sbcl_moco", "paco", "gpaco"))


def test_step_profile_and_any_factor():
    config = validate(compose(["dataset=cifar10_lt", "imbalance.profile=step", "imbalance.factor=37"]))
    assert (config.imbalance.profile, config.imbalance.factor) == ("step", 37.0)


@pytest.mark.parametrize("experiment", ["sdclr_cifar", "boosted_cl_cifar"])
def test_what_gh_alone_does_officially_stays_out_of_other_authors_recipes(experiment):
    first = {}
    for words in expand([f"experiment={experiment}", "fidelity=official"]):
        first.setdefault(tuple(word for word in words if word.startswith("method=")), words)
    assert len(first) in (2, 4)
    for words in first.values():
        official = validate(compose(words)).method
        clean = validate(compose([word for word in words if not word.startswith("fidelity")])).method
        for key, usual in (("views", None), ("default_weights", False), ("double_normalisation", False)):
            assert official.get(key, usual) == clean.get(key, usual), (words, key)
