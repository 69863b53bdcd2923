"""Words of a command line become a config, or one line that says what to type."""

from copy import deepcopy

import pytest
from helpers.configs import refusal_to_compose as refusal
from hydra.core.config_store import ConfigStore

from lt_bench.config.compose import about, compose, groups, parse, shown
from lt_bench.config.keys import nearest

CHOICES = {
    "dataset": {"digits_lt", "fashion_mnist_lt", "cifar10_lt", "cifar100_lt"},
    "imbalance": {"if10", "if20", "if50", "if100", "if200", "native"},
    "method": {"ce", "supcon", "sbcl"},
    "fidelity": {"clean", "official"},
    "budget": {"paper", "short", "smoke"},
}


def test_groups_and_their_choices():
    found = groups()
    assert list(found) == sorted(found) and "__pycache__" not in found
    assert all(choices == sorted(choices) for choices in found.values())
    for group, choices in CHOICES.items():
        assert choices <= set(found[group])


def test_about_is_the_whole_comment_at_the_head_of_a_file():
    assert about("fidelity", "clean") == "corrected behaviour (default): each defect of the authors' code is mended"
    assert about("experiment", "sbcl_cifar").endswith("python -m lt_bench -m experiment=sbcl_cifar")
    assert "@package" not in about("method", "sbcl") and "defaults" not in about("method", "sbcl")


def test_defaults():
    config = compose()
    names = [config[node].name for node in ("dataset", "method", "backbone", "stage_two", "budget")]
    assert names == ["digits_lt", "sbcl", "tiny", "cb", "paper"]
    assert (config.imbalance.factor, config.fidelity, config.seed, config.split_seed) == (20, "clean", 0, 0)
    assert (config.device, config.output_dir, config.data_dir) == ("auto", "runs", "data")


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("+seed=3", "seed", 3),
        ("++seed=3", "seed", 3),
        ("imbalance.factor=37", "imbalance.factor", 37.0),
        ("imbalance.factor=null", "imbalance.factor", None),
        ("dataset.root='a b'", "dataset.root", "a b"),
        ('dataset.root="/x/y=z,[1]"', "dataset.root", "/x/y=z,[1]"),
        ("dataset.mean=[0,0.5,1]", "dataset.mean", [0.0, 0.5, 1.0]),
        ("method.beta=0.5", "method.beta", 0.5),
        ("+method.beta=0.5", "method.beta", 0.5),
        ("method.distance_epsilon=-1e-6", "method.distance_epsilon", -1e-6),
        ("method.views=[simclr,simclr]", "method.views", ["simclr", "simclr"]),
        ("method.no_file_names_it=null", "method.no_file_names_it", None),
        ("train.schedule.span=open", "train.schedule.span", "open"),
        ("train={lr:0.25,optimizer:{momentum:0.5}}", "train.optimizer.momentum", 0.5),
        ("train.schedule={lr:0.25}", "train.schedule.lr", 0.25),
        ("stage_two.train.epochs=7", "stage_two.train.epochs", 7),
        ("seed=${split_seed}", "seed", 0),
        ("train.lr=${epochs:5}", "train.lr", 5.0),
    ],
)
def test_single_values(word, key, value):
    from omegaconf import OmegaConf

    found = OmegaConf.select(compose([word]), key)
    assert (OmegaConf.to_container(found) if OmegaConf.is_list(found) else found) == value


def test_a_dictionary_leaves_its_neighbours_alone():
    config = compose(["train={lr:0.25}"])
    assert config.train.lr == 0.25 and config.train.batch_size == compose().train.batch_size


def test_the_later_of_two_words_for_one_key_counts():
    assert compose(["seed=1", "seed=2"]).seed == 2
    assert compose(["method=ce", "method=supcon"]).method.name == "supcon"


def test_a_parameter_of_a_class_can_be_taken_away():
    assert "beta" not in compose(["~method.beta"]).method
    assert "milestones" not in compose(["method=ce", "~train.schedule.milestones"]).train.schedule


def test_one_config_does_not_change_the_next():
    compose(["method.beta=0.5", "~method.minimum_size", "dataset.mean=[0,0,0]"])
    config = compose()
    assert config.method.beta == 0.25 and config.method.minimum_size == 10 and config.dataset.mean[0] > 0


def test_epochs_are_scaled_by_the_budget():
    assert compose(["recipe=none", "method=ce"]).train.epochs == 200
    assert compose(["recipe=none", "method=ce", "budget=short"]).train.epochs == 20
    assert compose(["recipe=none", "method=ce", "budget=smoke"]).train.epochs == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset=foo"], f"unknown dataset 'foo'; dataset= takes {', '.join(groups()['dataset'])}"),
        (["dataset=cifar10"], "unknown dataset 'cifar10' (did you mean cifar10_lt?); dataset= takes "),
        (["budget=null"], "unknown budget 'null'"),
        (["method={beta:0.5}"], "unknown method '{\"beta\": 0.5}'"),
        (["method=CE"], "unknown method 'CE' (did you mean ce?)"),
        (["imbalance=if30"], "; any other factor as imbalance.factor=30"),
        (["imbalance=much"], "; any other factor as imbalance.factor=NUMBER"),
        (["dataset=" + 300 * "x"], "unknown dataset 'xxx"),
        (["dataset=/"], "; a folder of your own images as dataset=image_folder dataset.root=/"),
        (["method=[ce,sbcl]"], 'unknown method \'["ce", "sbcl"]\''),
        (["method=${dataset}"], "unknown method '${dataset}'"),
        (["datset=digits_lt"], "unknown key datset (did you mean dataset?); keys there are: dataset, imbalance"),
        (["+label=1"], "unknown key label; keys there are: dataset"),
        (["dataset.nme=3"], "unknown key dataset.nme (did you mean name?); keys of dataset: name, title"),
        (
            ["train.optimizer=adam"],
            "train.optimizer is no single value; set what is in it as train.optimizer.KEY=VALUE",
        ),
        (["optimizer=lars"], "unknown optimizer 'lars'; optimizer= takes adagrad, adam, adamw, nadam, radam, rmsprop"),
        (["optimizer=adamv"], "unknown optimizer 'adamv' (did you mean adam"),
        (["~optimizer"], "only a parameter of a class can be taken away"),
        (["dataset.name.x=3"], "unknown key dataset.name.x: dataset.name is a single value; set it as dataset.name="),
        (["seed=abc"], "seed=abc is of the wrong kind; seed= takes a whole number"),
        (["seed=1.5"], "seed=1.5 is of the wrong kind; seed= takes a whole number"),
        (["seed=true"], "seed=true is of the wrong kind; seed= takes a whole number"),
        (["seed=null"], "seed=null is of the wrong kind; seed= takes a whole number"),
        (["seed="], "seed= is of the wrong kind; seed= takes a whole number"),
        (["seed=[1,2]"], "seed=[1, 2] is of the wrong kind; seed= takes a whole number"),
        (["imbalance.factor=x"], "imbalance.factor=x is of the wrong kind; imbalance.factor= takes a number or null"),
        (["progress=maybe"], "progress=maybe is of the wrong kind; progress= takes true or false"),
        (["dataset.mean=3"], "dataset.mean=3 is of the wrong kind; dataset.mean= takes a list, each item a number"),
        (["train=null"], "train is no single value; set what is in it as train.KEY=VALUE"),
        (["train.milestones=[1]", "train.milestones.x=[0]"], "unknown key train.milestones"),
        (
            ["+train.schedule.lr=[0]", "+train.schedule.lr.x.y=[0]"],
            "train.schedule.lr is a list, which is set as a whole: train.schedule.lr=[...]",
        ),
        (["train.schedule=3"], "train.schedule is no single value; set what is in it as train.schedule.KEY=VALUE"),
        (["seed"], "cannot read 'seed': write key=value, for example seed=1"),
        (["=3"], "cannot read '=3'"),
        (["seed==3"], "cannot read 'seed==3'"),
        (["data_dir=/x/y=z"], "goes in two pairs of quotes"),
        (["train.lr=${oops"], "cannot read 'train.lr=${oops'"),
        (["seed=1,2"], "seed=1,2 names several runs; add -m for a sweep"),
        (["method=glob(*)"], "method=glob(*) names several runs; add -m for a sweep"),
        (["hydra.run.dir=x"], "Hydra's own settings are not used"),
        (["hydra/launcher=basic"], "Hydra's own settings are not used"),
        (["hydra.searchpath=[file://x]"], "choices are the files in the folders of conf/"),
        (["method@other=sbcl"], "a group has one place; write method=CHOICE"),
        (["~seed"], "only a parameter of a class can be taken away; write seed=VALUE"),
        (["~method"], "only a parameter of a class can be taken away; write method=VALUE"),
        (["~stage_two.train"], "only a parameter of a class can be taken away"),
        (["~stage_two.train.lr"], "only a parameter of a class can be taken away"),
        (["~method.bta"], "~method.bta: there is no method.bta (did you mean beta?)"),
        (["~method.no.such"], "there is no method.no.such"),
    ],
)
def test_what_is_refused_and_how(words, said):
    found = refusal(*words)
    assert said in found and "\n" not in found


def test_the_first_mistake_is_named_even_behind_good_words():
    assert "unknown key sed" in refusal("method=ce", "method.views=[simclr]", "sed=1")


def test_parse_keeps_the_words_in_order():
    assert [override.input_line for override in parse(["seed=1,2", "method=ce"])] == ["seed=1,2", "method=ce"]


def test_values_are_shown_as_they_are_typed():
    values = [None, True, 1, 0.5, "a b", [1, None], {"a": False}]
    assert [shown(value) for value in values] == ["null", "true", "1", "0.5", "a b", "[1, null]", '{"a": false}']


def test_nearest():
    assert nearest("sbc", ["sbcl", "ce"]) == " (did you mean sbcl?)" and nearest("xyz", ["sbcl", "ce"]) == ""


def test_order_of_power(monkeypatch):
    """Every level sets ``train.lr``; without the strongest, the next one shows."""
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", deepcopy(store.repo))  # what is stored here ends with the test
    levels = {"dataset": 0.1, "method": 0.2, "recipe": 0.3, "experiment": 0.4}
    for group, lr in levels.items():
        name = "probe_probe" if group == "recipe" else "probe"
        store.store(group=group, name=name, node={"train": {"lr": lr}}, package="_global_")
        monkeypatch.setitem(groups(), group, [*groups()[group], name])
    words = ["train.lr=0.5", "experiment=probe", "dataset=probe", "method=probe"]
    assert compose(words).train.lr == 0.5
    assert compose(words[::-1]).train.lr == 0.5
    assert compose(words[1:]).train.lr == levels["experiment"]
    assert compose(words[2:]).train.lr == levels["recipe"]
    assert compose([*words[2:], "recipe=none"]).train.lr == levels["method"]
    assert compose(["dataset=probe", "recipe=none", "method=sbcl"]).train.lr == compose(["recipe=none"]).train.lr
