"""A run whose class is not its choice's own has the name of its class, or one that is given."""

import pytest

from lt_bench.config.compose import NAMED, compose, groups, target_of
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate

SDCLR = "lt_bench.methods.sdclr.SDCLR"
RESNET = "backbone._target_=lt_bench.models.resnet.resnet18"


@pytest.mark.parametrize(
    ("words", "name", "title"),
    [
        (["method=simclr", f"method._target_={SDCLR}"], "SDCLR", "SDCLR"),
        (["method=simclr", f"method._target_={SDCLR}", "method.name=mine"], "mine", "SDCLR"),
        (["method=simclr", f"method._target_={SDCLR}", "method.title=Mine"], "SDCLR", "Mine"),
        (["method=simclr", "method._target_=lt_bench.methods.simclr.SimCLR"], "simclr", "SimCLR"),
        (["method=simclr", "method.name=mine"], "mine", "SimCLR"),
    ],
)
def test_name_and_title_follow_the_class(words, name, title):
    method = validate(compose(words)).method
    assert (method["name"], method["title"]) == (name, title)
    assert (method.get("order") is None) == (SDCLR in words[1])


def test_names_of_other_groups_follow_too():
    assert validate(compose(["backbone=resnet50", RESNET])).backbone["name"] == "resnet18"
    words = ["dataset=cifar10_lt", "dataset._target_=lt_bench.data.sources.fashion_mnist.load"]
    dataset = validate(compose(words)).dataset
    assert (dataset.name, dataset.title) == ("load", "load")
    own = "LearnableWeightScaling"
    rule = validate(compose(["method=ce", "stage_two=cb", f"stage_two._target_=lt_bench.stage_two.lws.{own}"]))
    assert (rule.stage_two.name, rule.stage_two.title, rule.stage_two.order) == (own, own, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=simclr", f"method._target_={SDCLR}", "method.name=ce"], "method.name=ce stands for method=ce, and"),
        (["method=simclr", f"method._target_={SDCLR}", "method.title=CE"], "method.title=CE stands for method=ce, and"),
        (["method=balanced_softmax", "method.title=CE"], "method.title=CE stands for method=ce"),
        (
            ["backbone=resnet50", RESNET, "backbone.name=resnet50"],
            "backbone.name=resnet50 stands for backbone=",
        ),
        (
            ["method=simclr_gh", "method.harmonization._target_=lt_bench.methods.simclr.SimCLR"],
            "stands for harmonization=gh",
        ),
        (
            [
                "method=simclr_gh",
                "method.harmonization._target_=lt_bench.methods.simclr.SimCLR",
                "method.name=mine",
            ],
            "method.title=SimCLR+GH stands for harmonization=gh",
        ),
        (["method=balanced_softmax", "method.title=' ce'"], "stands for method=ce"),
        (["method=balanced_softmax", "method.name=Ce"], "method.name=Ce stands for method=ce"),
        (["method=balanced_softmax", "method.title='ＣＥ'"], "stands for method=ce"),
        (
            ["dataset=image_folder", "dataset.num_classes=3", "dataset.name=imagenet"],
            "dataset.name=imagenet and dataset.title=own images stand for two choices, imagenet and image_folder",
        ),
        (["dataset=imagenet_lt", "dataset.title=Places-LT"], "stand for two choices, imagenet_lt and places_lt"),
        (["method=ce", "own_code.stage_one=abc"], "own_code.stage_one=abc is a version of code of your own, and none"),
    ],
)
def test_a_name_never_stands_for_another_class(words, said):
    with pytest.raises(UsageError) as caught:
        validate(compose(words))
    assert said in str(caught.value)


@pytest.mark.slow  # every recipe is validated in the fast set: this names what is wrong
@pytest.mark.parametrize("group", NAMED)
def test_the_class_of_every_choice_is_known_from_its_file(group):
    for choice in groups()[group]:
        words = [f"{group}={choice}"]
        assert target_of(group, choice) == compose(words)[group]._target_
