"""Recipes: every run is the one it has always been, and what has no file of its own says where its values come from."""

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
from helpers.configs import refusal, settled
from helpers.sampling import each_value_once

from lt_bench.config.compose import about, choices, compose, groups, parse
from lt_bench.config.conf import names_in, values_of
from lt_bench.config.layers import layers
from lt_bench.config.recipes import short_for, taken_from
from lt_bench.errors import UsageError
from lt_bench.record.identity import identity_values, run_id

# What decided the result of every method on every data set before recipes could be taken from one another.
COMPOSED = json.loads((Path(__file__).parent / "composed.json").read_text())
OWN = {"image_folder": ["dataset.num_classes=12"]}  # what only its user knows
HARMONIZED = ("simclr", "focal", "sdclr", "boosted_cl")
HARMONIZED_ON = ("digits_lt", "fashion_mnist_lt", "cifar10_lt", "places_lt", "inat18")


def files_of(**chosen):
    """The files that some choices stand for, weakest first."""
    return [layer.name for layer in layers(choices(parse(f"{group}={name}" for group, name in chosen.items())))]


@pytest.mark.parametrize(("method", "dataset"), each_value_once(tuple(pair.split("/")) for pair in COMPOSED))
def test_every_method_on_every_data_set_is_the_run_it_was(method, dataset):
    words = [f"method={method}", f"dataset={dataset}", *OWN.get(dataset, [])]
    before, now = COMPOSED[f"{method}/{dataset}"], json.loads(json.dumps(identity_values(settled(*words))))
    keys = {key for key in {*before, *now} if before.get(key, "-") != now.get(key, "-")}
    assert {key: (before.get(key, "-"), now.get(key, "-")) for key in keys} == {}


def test_the_runs_that_are_compared_are_those_of_every_method_and_data_set():
    assert len(COMPOSED) >= 180
    assert {pair.partition("/")[2] for pair in COMPOSED} <= set(groups()["dataset"])


def test_every_recipe_without_a_file_names_one_and_says_why():
    text = (Path(__file__).parents[2] / "conf" / "recipes.yaml").read_text()
    named = [line.partition(":")[0] for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert named == sorted(named) and named == list(taken_from())
    assert all(len(line) <= 120 for line in text.splitlines())
    for name, (recipe, why) in taken_from().items():
        folder, _, file = recipe.rpartition("/")
        assert file in names_in(f"recipe/{folder}".rstrip("/")) and name not in names_in("recipe")
        assert len(why) > 5 and why in about("recipe", name)


def test_what_a_recipe_says_of_a_stage_two_rule_is_for_the_rule_that_it_names():
    rules = {name: values_of(f"recipe/{name}").get("stage_two") for name in names_in("recipe")}
    named = {name: values.get("name") for name, values in rules.items() if values}
    assert named and all(name.startswith(f"{rule}_") for name, rule in named.items())
    own, other = (settled("method=gcl", "dataset=places_lt", *words).stage_two for words in ((), ("stage_two=none",)))
    assert (own.options["scale"], own.train.batch_size) == (15.0, 512) and (other.options, other.train) == ({}, None)


def test_a_recipe_is_found_by_at_most_one_link():
    found = files_of(method="focal", dataset="cifar10_lt")
    order = ["fidelity/clean", "recipe/simclr_cifar100_lt", "finetune/none", "budget/paper"]
    assert [name for name in found if name in order] == order
    assert "recipe/none" in files_of(method="bcl", dataset="cifar10_lt")
    assert files_of(method="simclr", dataset="cifar10_lt", recipe="bcl_inat18").count("recipe/bcl_inat18") == 1


@pytest.mark.parametrize(("method", "dataset"), each_value_once(itertools.product(HARMONIZED, HARMONIZED_ON)))
def test_a_method_with_harmonization_is_one_run_by_either_name(method, dataset):
    one, other = (
        settled(f"method={method}_gh", f"dataset={dataset}"),
        settled(f"method={method}", "harmonization=gh", f"dataset={dataset}"),
    )
    assert one == other and run_id(one) == run_id(other)
    assert (one.method["name"], one.method["title"][-3:]) == (f"{method}_gh", "+GH")
    assert one == settled("harmonization=gh", f"dataset={dataset}", f"method={method}_gh")


def test_both_names_have_the_official_form():
    words = ["dataset=cifar100_lt", "fidelity=official"]
    one = settled("method=sdclr_gh", *words)
    assert one == settled("method=sdclr", "harmonization=gh", *words)
    assert one.method["harmonization"]["prior_refresh"] == "step" and one.method["double_normalisation"] is True


def test_what_is_typed_beats_what_a_short_name_stands_for():
    assert settled("method=simclr_gh", "harmonization=none") == settled("method=simclr")
    assert "harmonization" not in settled("method=simclr").method
    assert "harmonization" not in settled("method=ce", "harmonization=none").method


def test_harmonization_on_a_method_without_a_name_for_it():
    config = settled("method=boosted_sdclr", "harmonization=gh")
    assert (config.method["name"], config.method["title"]) == ("boosted_sdclr_gh", "Boosted SDCLR+GH")
    assert config.method["harmonization"]["target_dim"] == 10  # as on digits for every other method
    assert not short_for("boosted_sdclr") and short_for("focal_gh") == {"method": "focal", "harmonization": "gh"}


@pytest.mark.parametrize("method", ["ce", "sbcl"])
def test_harmonization_is_refused_where_the_method_takes_none(method):
    said = refusal(f"method={method}", "harmonization=gh")
    assert said.startswith(
        f"harmonization=gh: method={method} takes no harmonization, which is for methods that learn without labels; "
        "set harmonization=none, or one of"
    )
    assert said.endswith("boosted_cl, boosted_sdclr, focal, sdclr, simclr")


def test_a_harmonized_recipe_that_is_typed_is_that_of_the_method_and_that_of_harmonization():
    words = ["method=simclr_gh", "dataset=digits_lt"]
    typed = settled(*words, "recipe=simclr_gh_imagenet_lt")
    assert (typed.train.epochs, typed.method["harmonization"]["prior_floor"]) == (500, 100.0)
    alone = settled(*words, "recipe=simclr_imagenet_lt", "train.schedule.switch_epoch=400")  # CIFAR's is at the end
    assert (alone.train.epochs, alone.method["harmonization"].get("prior_floor", 0)) == (500, 0)
    assert settled(*words, "recipe=none").method["harmonization"]["target_dim"] == 100
    own = settled("method=sdclr", "harmonization=gh", "dataset=fashion_mnist_lt")
    assert own.train.lr == 0.1 != settled("method=sdclr", "dataset=fashion_mnist_lt").train.lr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("zz_digits_lt: ce_digits_lt", "is not a new name"),
        ("zz_digits_lt: ce_digits_lt #", "is not a new name"),
        (
            "zz_digits_lt: balanced_softmax_digits_lt  # a second link",
            "there is no conf/recipe/balanced_softmax_digits_lt",
        ),
        ("zz_digits_lt: ce_digits_ltt  # mistyped", "there is no conf/recipe/ce_digits_ltt.yaml"),
        ("ce_digits_lt: none  # has a file", "is not a new name"),
    ],
)
def test_a_line_of_the_table_that_means_nothing_is_refused(line, said, tmp_path, monkeypatch):
    conf = Path(shutil.copytree(Path(__file__).parents[2] / "conf", tmp_path / "conf"))
    with (conf / "recipes.yaml").open("a") as table:
        table.write(f"{line}\n")
    monkeypatch.setattr("lt_bench.config.conf.files", lambda package: conf)
    monkeypatch.setattr("lt_bench.config.recipes.names_in", names_in.__wrapped__)
    with pytest.raises(UsageError, match=re.escape(said)):
        taken_from.__wrapped__()


def test_what_a_recipe_says_of_a_stage_two_is_for_that_rule_alone():
    words = ["method=gcl", "dataset=places_lt"]
    own, other, none = (settled(*words, f"stage_two={rule}").stage_two for rule in ("gcl", "cb", "none"))
    assert (own.options["scale"], own.train.batch_size) == (15.0, 512)
    assert (
        other == settled("method=gcl", "dataset=imagenet_lt", "stage_two=cb").stage_two and "scale" not in other.options
    )
    assert (none.options, none.train) == ({}, None)


def test_a_recipe_for_a_component_wants_the_component():
    with pytest.raises(UsageError, match="is for a method with harmonization; add harmonization=gh"):
        compose(["method=simclr", "recipe=simclr_gh_cifar100_lt"])
    assert compose(["method=simclr", "harmonization=gh", "recipe=simclr_gh_cifar100_lt"]).method.name == "simclr_gh"
