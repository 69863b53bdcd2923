"""What recipes and experiments are meant to reproduce: results that are there, of what they run."""

import pytest
from helpers.sampling import each_value_once
from omegaconf import OmegaConf

from lt_bench.config.compose import compose, groups
from lt_bench.config.recipes import COMPONENTS, NONE, of_variant
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import expand
from lt_bench.published import reproduces
from lt_bench.published.entries import by_id, find
from lt_bench.published.reproduces import reproduced

RECIPES = [name for name in groups()["recipe"] if name != "none"]
EXPERIMENTS = [name for name in groups()["experiment"] if name != "none"]
SEEDS = ("seed=", "split_seed=", "stage_two.shot_seed=")
DATASETS = {entry.dataset for entry in by_id().values()}


def run_of(words):
    """What a run is known by among published results."""
    config = compose(words)
    factor = config.imbalance.factor
    known = {group: config[group].name for group in ("stage_two", "dataset", "backbone")}
    known["imbalance"] = "native" if factor is None else f"if{factor:g}"
    known |= {"epochs": config.train.epochs, "shots": config.stage_two.get("shots")}
    return config.method.name, known


def parts(recipe):
    variant = of_variant(recipe, groups()["variant"])
    plain = recipe.removesuffix(f"_{variant}")
    dataset = next(name for name in groups()["dataset"] if plain.endswith(f"_{name}"))
    return plain.removesuffix(f"_{dataset}"), dataset


def test_every_recipe_and_experiment_is_in_the_table_in_order():
    assert list(reproduced("recipe")) == sorted(RECIPES)
    assert list(reproduced("experiment")) == sorted(EXPERIMENTS)
    for listed in (*reproduced("recipe").values(), *reproduced("experiment").values()):
        assert len({entry.id for entry in listed}) == len(listed)


def test_a_recipe_of_what_nobody_has_published_names_nothing():
    for recipe in RECIPES:
        method, dataset = parts(recipe)
        assert find(method, dataset=dataset) or not reproduced("recipe")[recipe], recipe


WITH_RESULTS = [(recipe,) for recipe in RECIPES if find(parts(recipe)[0], dataset=parts(recipe)[1])]


@pytest.mark.parametrize("recipe", each_value_once(WITH_RESULTS))
def test_a_recipe_names_all_results_of_what_it_runs_and_no_others(recipe):
    """A recipe is for all factors that its data set has."""
    method, dataset = parts(recipe)
    _, run = run_of([f"method={method}", f"dataset={dataset}", f"recipe={recipe}"])
    if run["imbalance"] != "native":
        del run["imbalance"]
    assert set(reproduced("recipe")[recipe]) == set(find(method, **run))


def runs_of(experiment):
    """The runs of an experiment on data of which there are published results, each once for all seeds."""
    runs = ([word for word in run if not word.startswith(SEEDS)] for run in expand([f"experiment={experiment}"]))
    for words in dict.fromkeys(map(tuple, runs)):
        if typed(words).get("dataset") in DATASETS:
            yield list(words)


def typed(words):
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if reproduced("experiment")[name]])
def test_an_experiment_names_results_of_data_sets_and_methods_that_it_has(experiment):
    runs = [typed(words) for words in expand([f"experiment={experiment}"])]
    for entry in reproduced("experiment")[experiment]:
        for group in ("method", "dataset", "imbalance", "stage_two", "backbone"):
            assert any(getattr(entry, group) in (None, run.get(group, getattr(entry, group))) for run in runs)


def results_of(words):
    """What is published of a run; of one with components those results of its method whose variant they are."""
    (method, run), chosen = run_of(words), typed(words)
    parts = "_".join(chosen[group] for group in COMPONENTS if chosen.get(group, NONE) != NONE)
    if not parts:
        return {*find(method, **run)}
    known = find(chosen["method"], plain=False, **run)
    return {entry for entry in known if (entry.variant, entry.test_distribution) == (parts, None)}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_names_all_results_of_what_it_runs(experiment):
    found = set().union(*map(results_of, runs_of(experiment)))
    assert set(reproduced("experiment")[experiment]) == found


def test_what_they_reproduce_is_no_part_of_a_config():
    assert "reproduces" not in OmegaConf.to_yaml(compose(["experiment=bcl_cifar"]))


@pytest.mark.parametrize("ids", [["bcl-none"], "bcl-none", [["bcl-none"]]])
def test_an_id_that_is_none_is_named(ids):
    with pytest.raises(UsageError, match="conf/reproduces.yaml: recipe x: no published result has the id"):
        reproduces._looked_up("recipe", {"x": ids})
