"""``--help KEY`` says what a key means, what it takes, and where its present value comes from."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command_line import without_torch

from lt_bench.__main__ import main
from lt_bench.cli.explain import explain
from lt_bench.cli.origin import sources
from lt_bench.config.compose import compose, groups
from lt_bench.config.conf import names_in, values_of
from lt_bench.config.keys import class_nodes
from lt_bench.config.schema import Config, flat, plain
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate

CONF = Path(__file__).parents[2] / "conf"
RUN = ("method=simclr_gh", "stage_two=linear_probe")
KEYS = sorted({*flat(plain(Config())), *class_nodes(), *flat(plain(validate(compose(RUN))))})


def fact(text, name):
    """What a text says beside a word such as ``now``."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"  {name}  "))
    return line.removeprefix(f"  {name}").strip()


@pytest.mark.parametrize("key", [*KEYS, "dataset", "train", "train.optimizer", "launch", "method.harmonization"])
def test_every_key_is_explained(key):
    lines = explain(key, ("finetune=head", "method=ce") if key == "method.finetune" else RUN).splitlines()
    assert lines[0] == key and lines[1].strip() and max(map(len, lines)) <= 120


@pytest.mark.parametrize("group", groups())
def test_every_group_and_its_first_and_last_choice_are_explained(group):
    assert explain(group, ()).startswith(group)
    for choice in {groups()[group][0], groups()[group][-1]}:
        text = explain(f"{group}={choice}", ["dataset.num_classes=8"] if group == "dataset" else [])
        assert text.startswith(f"{group}={choice}\n") and (CONF.parent / fact(text, "file")).is_file()


def test_a_value():
    text = explain("train.lr", ())
    assert text.splitlines()[1] == "  learning rate that the schedule starts from, before lr_scaling"
    found = [fact(text, name) for name in ("takes", "default", "affects result")]
    assert found == ["a number, above 0", "none, it has to be given", "yes"]
    assert fact(explain("dataset.workers", ()), "affects result") == "no"
    assert fact(explain("launch.nodes", ()), "affects result") == "no"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("train.optimizer.momentum", "a number, from 0 to 1"),
        ("dataset.crop_scale", "a list of 2 numbers, above 0 and at most 1"),
        ("dataset.workers", "a whole number or null, from 0"),
        ("device", "auto, cpu, cuda"),
        ("progress", "true or false"),
        ("method.temperature_law", "linear_clipped, exponential"),
        ("method.subclass_temperature", "a number or null"),
    ],
)
def test_what_a_key_takes(key, said):
    assert fact(explain(key, ()), "takes") == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.lr"], "0.02, from conf/recipe/sbcl_digits_lt.yaml"),
        (["train.lr", "recipe=none"], "0.5, from conf/method/supcon.yaml"),
        (["train.lr", "method=ce", "recipe=none"], "0.1, from conf/method/ce.yaml"),
        (["train.lr", "train.lr=0.3"], "0.3, from the command line"),
        (["train.lr=0.3"], "0.3, from the command line"),
        (["train.lr", "train={lr:0.3}"], "0.3, from the command line"),
        (["train.epochs"], "150 (${epochs:150}), from conf/recipe/sbcl_digits_lt.yaml"),
        (["train.epochs", "budget=short"], "15 (${epochs:150}), from conf/recipe/sbcl_digits_lt.yaml"),
        (
            ["method.warm_epochs", "train.epochs=75"],
            "5 (${epochs:10}), from conf/method/sbcl.yaml, moved with train.epochs",
        ),
        (["method.warm_epochs", "train.epochs=75", "method.warm_epochs=9"], "9, from the command line"),
        (["train.drop_last"], "false, the default"),
        (["dataset.num_classes", "dataset=cifar100_lt"], "100, from conf/dataset/cifar100_lt.yaml"),
        (["dataset.num_classes", "dataset=image_folder"], "null, the default"),
        (["imbalance.factor", "dataset=cifar100_lt"], "100.0, from conf/imbalance/if100.yaml"),
        (["method.beta"], "0.25, from conf/method/sbcl.yaml"),
        (["method.beta", "~method.beta"], "0.25, the default"),
        (["method.distance_epsilon"], "0.0, the default"),
        (["stage_two.train.lr"], "0.1, from conf/stage_two/cb.yaml"),
        (["stage_two.train.lr", "stage_two=none", "method=ce"], "no value, because stage_two.train is null"),
        (["stage_two.train_split", "stage_two=few_shot_probe"], "balanced, from conf/stage_two/linear_probe.yaml"),
        (["method.clustering", "fidelity=official"], "kmeans_official, from conf/quirks/sbcl_official.yaml"),
        (["evaluation.split", "experiment=digits_tuning"], "validation, from conf/experiment/digits_tuning.yaml"),
    ],
)
def test_where_a_value_comes_from(words, said):
    assert fact(explain(words[0], words[1:]), "now") == said


def test_what_moves_with_epochs_is_shown():
    text = explain("train.epochs", ["method=ce", "train.epochs=60"])
    moving = "train.schedule.milestones (now [48, 54]), train.schedule.warm_epochs (now 1)"
    assert (fact(text, "recipe"), fact(text, "moves with it")) == ("300", moving)
    fixed = explain("stage_two.train.epochs", ["budget.rescale=false"])
    assert fact(fixed, "moves with it").startswith("nothing, because of budget.rescale=false: stage_two.train.schedule")
    typed = ["method=ce", "train.epochs=60", "train.schedule={milestones:[9],warm_epochs:0}"]
    assert fact(explain("train.epochs", typed), "moves with it") == "nothing else is counted in epochs"


def test_values_are_from_the_recipe_that_stands_in_for_other_large_images():
    name = "recipe/supcon_imagenet_lt"
    assert f"conf/{name}.yaml" in [source.name for source in sources(["method=supcon", "dataset=places_lt"])]


def test_a_parameter_is_explained_by_its_class():
    text = explain("method.warm_epochs", ())
    assert text.splitlines()[1].startswith(
        "  Subclasses and temperatures are renewed every update_interval epochs from"
    )
    assert fact(text, "class") == "lt_bench.methods.sbcl.SBCL" and fact(text, "default") == "10"
    assert fact(explain("stage_two.train.schedule.span", ()), "class") == "lt_bench.engine.schedules.Cosine"


def test_a_node_lists_its_keys():
    text = explain("train", ())
    for key in ("epochs", "lr_base_batch", "optimizer"):
        assert f"\n  train.{key} " in text
    assert fact(explain("imbalance", ()), "choices") == ", ".join(groups()["imbalance"])


def test_a_choice_lists_its_class_and_parameters():
    text = explain("method=sbcl", ["method.beta=0.5"])
    assert "subclass-balancing contrastive learning" in text and "\nclass lt_bench.methods.sbcl.SBCL\n" in text
    assert fact(text, "method.beta") == "0.5, from the command line"
    assert "linear_clipped, exponential; default linear_clipped" in text
    assert fact(explain("recipe=ce_digits_lt", ["method=ce"]), "train.epochs").endswith("conf/recipe/ce_digits_lt.yaml")
    taken = fact(explain("recipe=balanced_softmax_digits_lt", ()), "train.epochs")
    assert taken.endswith("conf/recipe/ce_digits_lt.yaml")


@pytest.mark.parametrize(
    "recipe",
    [name for name in names_in("recipe") if "name" in values_of(f"recipe/{name}").get("stage_two", {})],
)
def test_a_recipe_is_shown_with_the_choices_that_it_is_for(recipe):
    rule = values_of(f"recipe/{recipe}")["stage_two"]["name"]
    text = explain(f"recipe={recipe}", ())
    assert fact(text, "stage_two.name").startswith(f"{rule}, from ") and "no value yet" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.lrr"], "unknown key train.lrr (did you mean lr?)"),
        (["sed"], "unknown key sed (did you mean seed?)"),
        (["method.bta"], "unknown key method.bta (did you mean beta?)"),
        (["stage_two.titel"], "unknown key stage_two.titel (did you mean title?)"),
        (["method=sbc"], "unknown method 'sbc' (did you mean sbcl?)"),
        (["method.harmonization.weight"], "method.harmonization: names no class"),
        (["train.lr", "datset=digits_lt"], "unknown key datset (did you mean dataset?)"),
    ],
)
def test_what_is_refused_and_how(words, said):
    with pytest.raises(UsageError) as caught:
        explain(words[0], words[1:])
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


def test_the_command_line(capsys):
    assert main(["--help", "seed"]) == 0 and capsys.readouterr().out.startswith("seed\n")
    assert main(["seed=3", "-h", "seed"]) == 0 and "3, from the command line" in capsys.readouterr().out
    assert main(["--help", "sed"]) == 2 and "did you mean seed?" in capsys.readouterr().err
    assert main(["--help"]) == 0 and "--help KEY" in capsys.readouterr().out


def test_torch_is_imported_for_none_of_it(tmp_path):
    one_of_each_node = [*{key.rpartition(".")[0]: key for key in KEYS}.values(), "method=sbcl"]
    code = f"from lt_bench.cli.explain import explain\nfor word in {one_of_each_node!r}: explain(word, {RUN!r})"
    subprocess.run([sys.executable, "-c", code], env=without_torch(tmp_path), check=True)


def test_a_copy_of_a_trackers_file_has_a_node_of_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "lt_bench_conf" / "tracker" / "my_wandb.yaml"
    copy.parent.mkdir(parents=True)
    copy.write_text((CONF / "tracker" / "wandb.yaml").read_text() + "project: tails\n")
    text = explain("tracker=my_wandb", [])
    assert "tracker.my_wandb.project  tails, from lt_bench_conf/tracker/my_wandb.yaml" in text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("method", ["method.order=[${sweep[0]}]"]),
        ("method.order", ["method.order=[${sweep[0]}]"]),
        ("method", ["method.harmonization._target_=${train.schedule.switch_epoch}"]),
        ("method.harmonization", ["method.harmonization._target_=${method}"]),
        ("train.optimizer", ["train.optimizer.name=${none}"]),
        ("train.optimizer.lr", ["train.optimizer.name=${none}"]),
    ],
)
def test_values_that_refer_to_nothing_are_explained_or_refused_in_one_line(key, words, capsys):
    assert main([f"--help={key}", *words]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
