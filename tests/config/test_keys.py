"""What a dotted key of the schema is."""

import ast

import pytest

from lt_bench.config.compose import compose, groups
from lt_bench.config.keys import (
    affects_result,
    annotation_of,
    beside,
    class_nodes,
    fields_of,
    find,
    is_parameter,
    look_up,
)
from lt_bench.config.schema import Backbone, Config, Named, OfMethod, StageTwo, flat, plain
from lt_bench.config.signatures import REQUIRED
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate

# Where, on what and how a run is carried out and shown: none of it can change the result.
IRRELEVANT = (
    "output_dir", "data_dir", "device", "deterministic", "compile", "progress", "launch", "checkpoint", "sweep",
    "experiment", "recipe", "threads", "search", "trust", "tracker", "cuda_graph",
    "dataset.root", "dataset.download", "dataset.list_dir", "dataset.packed", "dataset.workers",
    "dataset.train_images", "dataset.validation_images", "dataset.test_images", "dataset.class_sizes",
    "dataset.own_group_rule", "dataset.title", "method.title", "method.order", "stage_two.title",
    "stage_two.order", "evaluation.batch_size", "evaluation.save_features", "budget.rescale", "budget.moved",
    "train.recipe_epochs",
    "stage_two.train.recipe_epochs",
    "dataset.classes", "dataset.content_rule", "dataset.follow_links",  # what comes of them does, as dataset.content.*
)  # fmt: skip


def keys_of_runs():
    """Every key of the schema, and those that runs have."""
    known = {*flat(plain(Config())), *groups(), *(name for name in fields_of(Config))}
    for words in ((), ("method=simclr_gh", "stage_two=few_shot_probe"), ("dataset=imagenet_lt", "launch=slurm")):
        known |= flat(plain(validate(compose(words)))).keys()
    return sorted(known)


def test_what_affects_the_result():
    for key in keys_of_runs():
        irrelevant = any(key == one or key.startswith(f"{one}.") for one in IRRELEVANT)
        assert affects_result(key) is not irrelevant, key
    assert all(find(key) for key in IRRELEVANT)


def test_a_key_that_nobody_knows_affects_the_result():
    assert affects_result("novelty") and affects_result("method.novelty") and not affects_result("launch.novelty")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("method", False),
        ("method.name", True),
        ("method.beta", True),
        ("method.harmonization.weight", True),
        ("backbone.input_pool", True),
        ("stage_two", False),
        ("stage_two.name", False),
        ("stage_two.scale", True),
        ("stage_two.options", True),
        ("stage_two.train", False),
        ("stage_two.train.lr", False),
        ("stage_two.train.no_such", False),
        ("stage_two.train.schedule", False),
        ("stage_two.train.schedule.span", True),
        ("train.schedule.span", True),
        ("train.lr", False),
        ("dataset._target_", False),
        ("recipe.x", False),
        ("no.such", False),
    ],
)
def test_which_keys_are_parameters_of_a_class(key, expected):
    assert is_parameter(key) is expected


def test_nodes_that_name_a_class():
    assert {name: class_nodes()[name] for name in ("method", "backbone", "stage_two")} == {
        "method": OfMethod,
        "backbone": Backbone,
        "stage_two": StageTwo,
    }
    assert issubclass(OfMethod, Named)
    assert {"method.finetune", "train.schedule", "stage_two.train.schedule"} <= class_nodes().keys()
    assert beside(Named)["name"].default is REQUIRED and beside(Backbone)["input_pool"].default == 1
    assert "_target_" not in beside(Named) and "options" not in beside(StageTwo)


def test_annotations():
    assert ast.unparse(annotation_of("stage_two.train.lr")) == "float"
    assert ast.unparse(annotation_of("backbone.pretrained")) == "str | None"
    for key in ("train", "method", "stage_two.train", "recipe"):
        with pytest.raises(UsageError, match=f"{key} is no single value; set what is in it as {key}.KEY=VALUE"):
            annotation_of(key)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sed", "unknown key sed (did you mean seed?); keys there are: dataset, imbalance"),
        ("lr", "unknown key lr (did you mean train.lr?); keys there are: dataset, imbalance"),
        ("LR", "unknown key LR; keys there are: dataset, imbalance"),
        ("train.lrr", "unknown key train.lrr (did you mean lr?); keys of train: epochs, batch_size, lr"),
        ("seed.x", "unknown key seed.x: seed is a single value; set it as seed=VALUE"),
        ("stage_two.train.optimiser", "unknown key stage_two.train.optimiser (did you mean optimizer?); keys of stage"),
    ],
)
def test_unknown_keys_are_refused_with_their_neighbours(key, said):
    assert find(key) is None
    with pytest.raises(UsageError) as caught:
        look_up(key)
    assert str(caught.value).startswith(said)
