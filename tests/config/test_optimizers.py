"""Choosing an optimiser: what it replaces, what it keeps, and the identities that runs on disk have."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from lt_bench.config.compose import compose, groups
from lt_bench.config.optimizers import NODES, after_choice, names, of_name, resolved
from lt_bench.config.schema import node
from lt_bench.launch.planning.plan import expand
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities, identity_values, run_id

RECORDS = Path(__file__).parents[2] / "results" / "records"
CE = ("method=ce", "dataset=cifar100_lt")  # SGD with momentum 0.9 and weight decay 2e-4, by method and recipe
PROBE = ("method=ce", "stage_two=linear_probe")  # Adam with weight decay 5e-6
SGD = {"_target_": "torch.optim.SGD", "momentum": 0.9, "weight_decay": 2e-4, "nesterov": False}
ADAMW = {"_target_": "torch.optim.AdamW", "betas": [0.9, 0.999], "weight_decay": 0.01}
ADAM = {"_target_": "torch.optim.Adam", "betas": [0.9, 0.999], "weight_decay": 0.0}


def config(*words):
    return validate(compose(words))


def chosen(*words, key="train.optimizer"):
    return node(config(*words), key)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), SGD),
        (("train.optimizer.momentum=0.5",), {**SGD, "momentum": 0.5}),
        # another class starts from its own values, wherever the word stands
        (("optimizer=adamw",), ADAMW),
        (("optimizer=adam",), ADAM),
        (("train.optimizer.weight_decay=0.05", "optimizer=adamw"), {**ADAMW, "weight_decay": 0.05}),
        (("train.optimizer.name=adamw",), ADAMW),
        (("train.optimizer={weight_decay:0.05,name:adamw}",), {**ADAMW, "weight_decay": 0.05}),
        (("train.optimizer._target_=torch.optim.Rprop",), {"_target_": "torch.optim.Rprop"}),
        (
            ("train.optimizer.betas=[0.8,1e-1]", "train.optimizer._target_=torch.optim.NAdam"),
            {"_target_": "torch.optim.NAdam", "betas": [0.8, 0.1]},
        ),
        (("optimizer=adamw", "train.optimizer._target_=torch.optim.Rprop"), {"_target_": "torch.optim.Rprop"}),
        # the class that is there keeps its values
        (("optimizer=sgd",), SGD),
        (("train.optimizer._target_=torch.optim.SGD",), SGD),
        (("train.optimizer={name:sgd,nesterov:true}",), {**SGD, "nesterov": True}),
        # the older words: SGD and Adam share momentum and weight decay
        (("train.optimizer.name=adam",), {**ADAM, "weight_decay": 2e-4}),
        (("train.optimizer={name:adam,momentum:0.8}",), {**ADAM, "weight_decay": 2e-4, "betas": [0.8, 0.999]}),
        (("train.optimizer={name:adam,betas:[0.8,0.9]}",), {**ADAM, "weight_decay": 2e-4, "betas": [0.8, 0.9]}),
    ],
)
def test_what_a_choice_replaces(words, expected):
    assert chosen(*CE, *words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {**ADAM, "weight_decay": 5e-6}),
        (("stage_two.train.optimizer.name=adamw",), ADAMW),
        (("stage_two.train.optimizer={weight_decay:0.1,name:adamw}",), {**ADAMW, "weight_decay": 0.1}),
        (("stage_two.train.optimizer.name=sgd",), {**SGD, "weight_decay": 5e-6}),
        (("stage_two.train.optimizer._target_=torch.optim.Rprop",), {"_target_": "torch.optim.Rprop"}),
        (("optimizer=adamw",), {**ADAM, "weight_decay": 5e-6}),  # of stage one
    ],
)
def test_choices_for_stage_two(words, expected):
    assert chosen(*PROBE, *words, key="stage_two.train.optimizer") == expected


@pytest.mark.parametrize("name", names())
def test_every_file_is_taken_as_it_is_by_either_stage(name):
    assert {key: chosen(*CE, f"optimizer={name}")[key] for key in of_name(name)} == {
        **of_name(name), **(SGD if name == "sgd" else {})
    }  # fmt: skip
    other = "adamw" if name == "adam" else "adam"
    words = ("stage_two=cb", f"stage_two.train.optimizer.name={other}", f"stage_two.train.optimizer.name={name}")
    for key, value in of_name(name).items():
        assert chosen(*CE, *words, key="stage_two.train.optimizer")[key] == value


def test_a_sweep_over_optimisers_compares_the_recipe_with_others():
    runs = [config(*words) for words in expand([*CE, "optimizer=sgd,adamw"])]
    assert [run.train.optimizer for run in runs] == [SGD, ADAMW]
    assert run_id(runs[0]) == run_id(config(*CE))


def test_parameters_may_be_taken_away():
    assert chosen(*CE, "~train.optimizer.weight_decay") == {**SGD, "weight_decay": 0.0}
    words = ("optimizer=adamw", "~train.optimizer.betas")
    assert chosen(*CE, *words) == {"_target_": "torch.optim.AdamW", "weight_decay": 0.01}


def test_a_node_that_is_resolved_stays_as_it_is():
    for one in (SGD, ADAM, ADAMW, {"_target_": "torch.optim.SGD"}):
        assert resolved(one) == one
    assert resolved({}) == {**SGD, "weight_decay": 0.0} and resolved({"name": "adam", "nesterov": False}) == ADAM
    assert after_choice({"name": "adam"}, "_target_", "torch.optim.Adam") == {"name": "adam"}


def test_runs_that_were_frozen_with_the_older_words_are_taken():
    composed = compose([*CE, "stage_two=cb"])
    older = {"name": "adam", "momentum": 0.8, "weight_decay": 0.1, "nesterov": False}
    for key in NODES:
        OmegaConf.update(composed, key, older, merge=False)
    frozen = validate(composed, frozen=True)
    for key in NODES:
        assert node(frozen, key) == {**ADAM, "betas": [0.8, 0.999], "weight_decay": 0.1}
    values = identity_values(frozen)
    for key in NODES:
        assert {name: values[name] for name in values if name.startswith(key)} == {
            f"{key}.name": "adam", f"{key}.momentum": 0.8, f"{key}.weight_decay": 0.1
        }  # fmt: skip


FASHION = ("dataset=fashion_mnist_lt", "imbalance=native")


@pytest.mark.parametrize(
    ("experiment", "count", "kinds"),
    [("digits_demo", 175, {"SGD"}), ("fashion_ssl_study", 30, {"SGD", "Adam"})],
)
def test_committed_runs_keep_their_identities(experiment, count, kinds):
    stored = [json.loads(line) for line in (RECORDS / f"{experiment}.jsonl").read_text().splitlines()]
    known = {row["run_id"]: row for row in stored}
    assert len(known) == count
    found, classes = set(), set()
    for words in expand([f"experiment={experiment}"])[:: 25 if count > 100 else 6]:
        one = config(*words)
        run, below = identities(one)
        found.add(run)
        assert known[run]["stage_one_id"] == below
        classes |= {value["_target_"].rpartition(".")[2] for key in NODES if (value := node(one, key))}
    assert len(found) > 3 and classes == kinds


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ((), {"train.optimizer.weight_decay": 2e-4}),
        (("train.optimizer.name=adam",), {"train.optimizer.name": "adam", "train.optimizer.weight_decay": 2e-4}),
        (("optimizer=adam",), {"train.optimizer.name": "adam"}),
        (
            ("optimizer=adam", "train.optimizer.betas=[0.8,0.999]"),
            {"train.optimizer.name": "adam", "train.optimizer.momentum": 0.8},
        ),
        (
            ("optimizer=adam", "train.optimizer.betas=[0.8,0.99]"),
            {"train.optimizer.name": "adam", "train.optimizer.betas": [0.8, 0.99]},
        ),
        (("train.optimizer.momentum=0",), {"train.optimizer.momentum": 0.0, "train.optimizer.weight_decay": 2e-4}),
        (("~train.optimizer.weight_decay", "train.optimizer.dampening=0"), {}),
        (("optimizer=adamw",), {"train.optimizer._target_": "torch.optim.AdamW"}),
        (
            ("optimizer=adamw", "train.optimizer.weight_decay=0", "train.optimizer.eps=1e-8"),
            {"train.optimizer._target_": "torch.optim.AdamW", "train.optimizer.weight_decay": 0.0},
        ),
    ],
)
def test_identities_name_sgd_and_adam_by_the_older_words(words, values):
    found = identity_values(config(*CE, *words))
    assert {key: value for key, value in found.items() if key.startswith("train.optimizer")} == values


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("optimizer=adamw",), ("train.optimizer._target_=torch.optim.AdamW",)),
        (("optimizer=adamw",), ("train.optimizer.name=adamw", "train.optimizer.amsgrad=false")),
        (("optimizer=adam",), ("train.optimizer={name:adam,weight_decay:0}",)),
        (
            ("optimizer=adam", "train.optimizer.betas=[0.8,0.999]"),
            ("train.optimizer={name:adam,momentum:0.8,weight_decay:0}",),
        ),
        (("train.layer_decay=null", "train.clip_norm=null", "train.ema_decay=null"), ()),
        (("train.head_lr_factor=1", "train.decay_bias_and_norm=true"), ()),
    ],
)  # fmt: skip
def test_one_optimiser_has_one_identity(left, right):
    assert identities(config(*CE, *left)) == identities(config(*CE, *right))


@pytest.mark.parametrize(
    "word",
    ["layer_decay=0.5", "head_lr_factor=2", "decay_bias_and_norm=false", "clip_norm=1", "ema_decay=0.99"],
)
def test_the_new_settings_decide_the_result(word):
    base, other = (identities(config(*CE, *words)) for words in ((), (f"train.{word}",)))
    assert base[0] != other[0] and base[1] != other[1]


@pytest.mark.parametrize(
    ("node", "values"),
    [
        (
            {"_target_": "torch.optim.AdamW", "weight_decay": 0.05},
            {"_target_": "torch.optim.AdamW", "weight_decay": 0.05},
        ),
        ({"name": "adamw", "weight_decay": 0.05}, {**ADAMW, "weight_decay": 0.05}),
    ],
)
def test_a_file_may_name_another_optimiser_as_the_command_line_may(node, values, monkeypatch):
    name = "_".join(node)  # what was composed is kept by its name
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", deepcopy(store.repo))  # what is stored here ends with the test
    store.store(group="experiment", name=name, node={"train": {"optimizer": node}}, package="_global_")
    monkeypatch.setitem(groups(), "experiment", [*groups()["experiment"], name])
    for method in ("ce", "sbcl"):
        assert chosen(f"method={method}", f"experiment={name}") == values
    assert chosen("method=ce", f"experiment={name}", "optimizer=sgd")["_target_"] == "torch.optim.SGD"


def test_sgd_after_adam_keeps_momentum_and_weight_decay():
    typed = chosen("method=ce", "optimizer=adam", "train.optimizer.weight_decay=0.1", "train.optimizer.name=sgd")
    assert typed == {"_target_": "torch.optim.SGD", "momentum": 0.9, "weight_decay": 0.1, "nesterov": False}
