"""Nothing that cannot work gets past the preflight, and everything that can does."""

import json
import subprocess
import sys

import pytest
from helpers.command_line import without_torch
from helpers.configs import refusal
from omegaconf import OmegaConf

from lt_bench.config.compose import compose
from lt_bench.config.schema import StageTwo, Training, node, plain, schema
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import OPTIONAL, TARGETS, validate


def test_every_reference_is_resolved_and_every_value_typed():
    config = validate(compose(["method=supcon", "train.lr=1", "method.temperature=1"]))
    assert config.train.schedule["lr"] == 1.0 and type(config.train.schedule["lr"]) is float
    assert type(config.method["temperature"]) is float
    assert isinstance(config.train.epochs, int) and config.train.schedule["epochs"] == config.train.epochs


def test_stage_two_has_every_key_of_a_training():
    config = validate(compose(["stage_two=cb"]))
    assert config.stage_two.train.drop_last is False
    training = config.stage_two.train
    assert isinstance(training, Training)
    assert (training.sampler, training.optimizer["momentum"], training.epochs) == ("class_aware", 0.9, 45)
    assert validate(compose(["method=ce", "stage_two=none"])).stage_two.train is None


def test_parameters_of_a_rule_are_its_options():
    config = validate(compose(["stage_two=few_shot_probe", "stage_two.shots=50"]))
    rule = config.stage_two
    assert isinstance(rule, StageTwo) and (rule.name, rule.title) == ("few_shot_probe", "50-shot")
    assert rule.options.pop("shots") == 50
    assert rule.options == {"augment": False, "train_split": "balanced", "train_view": "plain", "shot_seed": 0}
    assert rule.parameters() == {"_target_": "lt_bench.stage_two.few_shot_probe.FewShotProbe", **rule.options}
    assert vars(rule).keys() == {"_target_", "name", "title", "order", "train", "options"}
    assert node(config, "stage_two.shot_seed") == 0 and node(config, "stage_two.train.lr") == 0.01


def test_files_in_run_folders_have_the_parameters_of_a_rule_beside_its_name():
    closed = plain(validate(compose(["method=ce", "stage_two=tau_norm"])))["stage_two"]
    target = "lt_bench.stage_two.tau_norm.TauNormalized"
    assert closed.pop("order") > 0 and closed == {"_target_": target, "name": "tau_norm", "title": "τ-norm", "tau": 1.0}
    trained = plain(validate(compose(["stage_two=cb"])))["stage_two"]
    assert trained.keys() == {"_target_", "name", "title", "order", "train", "augment"}
    assert trained["train"]["optimizer"]["momentum"] == 0.9 and trained["train"]["schedule"]["span"] == "to_zero"


def test_what_a_config_is_written_as_is_read_as_the_same_config():
    for words in (["stage_two=cb"], ["method=ce", "stage_two=none"], ["stage_two=few_shot_probe"]):
        config = validate(compose(words))
        written = json.loads(json.dumps(plain(config)))
        assert validate(OmegaConf.merge(schema(), written), frozen=True) == config


def test_a_rule_of_ones_own_is_trained_though_the_file_it_starts_from_has_a_closed_form(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_rule_of_mine.py").write_text(
        "class Rule:\n    def __init__(self, *, options: int, k: float = 2): ..."
    )
    words = ["stage_two=ncm", "~stage_two.variant", "stage_two.name=mine", "stage_two._target_=a_rule_of_mine.Rule"]
    words.append("trust=[a_rule_of_mine]")
    schedule = "{_target_:lt_bench.engine.schedules.Cosine,lr:0.1,epochs:2}"
    training = f"stage_two.train={{epochs:2,batch_size:8,lr:0.1,schedule:{schedule}}}"
    assert "stage_two.options has no value" in refusal(*words)
    rule = validate(compose([*words, training, "stage_two.options=3", "stage_two.k=1"])).stage_two
    assert rule.options == {"options": 3, "k": 1.0} and isinstance(rule.options["k"], float)
    assert isinstance(rule.train, Training) and (rule.train.epochs, rule.train.drop_last) == (2, False)
    with pytest.raises(UsageError, match="stage_two.train.batch_size has no value"):
        validate(compose([*words, "stage_two.options=3", "stage_two.train.lr=1", "stage_two.train.epochs=1"]))


def test_targets_are_the_nodes_that_name_a_class():
    with_component = {"method.mixing": ["method=ce", "mixing=cmo"], "method.finetune": ["finetune=head"]}
    with_component["method.experts"] = ["method=ce", "experts=split"]
    for key in TARGETS:
        with_all = validate(compose(with_component.get(key, ["method=simclr_gh"])))
        target = "torch.optim." if key.endswith("optimizer") else "lt_bench."
        assert node(with_all, f"{key}._target_").startswith(target)
    assert [key for key in TARGETS if node(validate(compose()), key) is None] == ["method.finetune", *OPTIONAL]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=???"], "seed has no value; set it with seed=VALUE"),
        (["method.beta=???"], "method.beta has no value; set it with method.beta=VALUE"),
        (["stage_two.train.lr=???"], "stage_two.train.lr has no value; set it with stage_two.train.lr=VALUE"),
        (["~method.name"], "method.name has no value; set it with method.name=VALUE"),
        (["~method.title"], "method.title has no value"),
        (["method=ce", "~train.schedule.milestones"], "train.schedule.milestones has no value"),
        (["method.name=3"], "method.name=3 is of the wrong kind; method.name= takes a word"),
        (["method.bta=1"], "unknown key method.bta (did you mean beta?); lt_bench.methods.sbcl.SBCL takes"),
        (["backbone.width=3"], "unknown key backbone.width; lt_bench.models.tiny.TinyEncoder takes input_pool"),
        (["method.encoder=3"], "unknown key method.encoder"),
        (["method.temperature=true"], "method.temperature=true is of the wrong kind; method.temperature= takes a num"),
        (["method.temperature=null"], "method.temperature=null is of the wrong kind"),
        (["method.minimum_size=2.5"], "method.minimum_size= takes a whole number"),
        (["method.clustering=x"], "method.clustering= takes balanced, balanced_paper, balanced_official, kmeans_offic"),
        (["method.views=simclr"], "method.views= takes a list, each item a word"),
        (["method.beta.x=1"], "method.beta"),
        (["backbone.input_pool=two"], "backbone.input_pool= takes a whole number"),
        (
            ["stage_two.train.lrr=1"],
            "unknown key stage_two.train.lrr (did you mean lr?); keys of stage_two.train: epochs, batch_s",
        ),
        (["stage_two.train.lr=x"], "stage_two.train.lr=x is of the wrong kind; stage_two.train.lr= takes a number"),
        (["stage_two.train.optimizer.x=1"], "unknown key stage_two.train.optimizer.x; torch.optim.SGD takes dampening"),
        (
            ["train.optimizer.lr=3"],
            "unknown key train.optimizer.lr; torch.optim.SGD takes dampening, momentum, nesterov",
        ),
        (["train={optimizer:{foreach:true}}"], "unknown key train.optimizer.foreach; torch.optim.SGD takes dampening"),
        (["train.optimizer.params=[]"], "unknown key train.optimizer.params; torch.optim.SGD takes dampening"),
        (["optimizer=adamw", "train.optimizer.momentum=0"], "unknown key train.optimizer.momentum; torch.optim.AdamW"),
        (
            ["optimizer=adamw", "train.optimizer.beta=0"],
            "train.optimizer.beta (did you mean betas?); torch.optim.AdamW",
        ),
        (
            ["optimizer=adamw", "train.optimizer.betas=[0.9]"],
            "train.optimizer.betas= takes a list of 2, each item a num",
        ),
        (["train.optimizer.weight_decay=x"], "train.optimizer.weight_decay=x is of the wrong kind"),
        (["train.optimizer._target_=3"], "train.optimizer._target_ names no class"),
        (["train.optimizer._target_=torch.optim.Lars"], "module 'torch.optim' has no class or function 'Lars'"),
        (["method=ride", "method.experts=1"], "as method.experts.KEY=VALUE, such as method.experts.count=VALUE"),
        (["stage_two.train=null"], "stage_two.train is no single value"),
        (["stage_two.train.optimizer=3"], "stage_two.train.optimizer is no single value"),
        (["stage_two.train.schedule=3"], "stage_two.train.schedule"),
        (["~stage_two.train.schedule._target_"], "stage_two.train.schedule._target_ names no class"),
        (["method._target_=3"], "method._target_ names no class; set it as method._target_=module.Class"),
        (["method._target_=null"], "method._target_ names no class"),
        (["method._target_=no.Such"], "method._target_=no.Such: no module 'no' on the import path"),
        (["method._target_=lt_bench.methods.ce.No"], "module 'lt_bench.methods.ce' has no class or function 'No'"),
        (["dataset._target_=no.such"], "dataset._target_=no.such: no module 'no'"),
        (["train.lr=${foo}"], "train.lr: Interpolation key 'foo' not found; set train.lr=VALUE"),
        (["train.lr=${train.lr}"], "train.lr: Recursive interpolation detected"),
        (["train.lr=${no:5}"], "train.lr: Unsupported interpolation type no"),
        (["method.beta=${oc.env:NO_SUCH_VARIABLE}"], "method.beta: KeyError raised while resolving interpolation"),
        (["seed=${device}"], "seed"),
    ],
)
def test_what_is_refused_and_how(words, said):
    found = refusal(*words)
    assert said in found.splitlines()[0] and len(found.splitlines()) <= 2


def test_all_problems_of_one_kind_at_once():
    assert len(refusal("seed=???", "method.beta=???", "train.lr=???").splitlines()) == 3
    assert len(refusal("method.bta=1", "backbone.width=3", "stage_two.agument=1").splitlines()) == 3


def test_another_schedule_in_place_of_the_methods():
    words = ["method=ce", "train.schedule._target_=lt_bench.engine.schedules.Cosine", "train.schedule.epochs=9"]
    words += ["train.epochs=9"]
    config = validate(compose(words))
    assert config.train.schedule["epochs"] == 9 and {"milestones", "gamma"}.isdisjoint(config.train.schedule)
    assert config == validate(compose([*words, "~train.schedule.milestones", "~train.schedule.gamma"]))
    assert "unknown key train.schedule.milestones" in refusal("train.schedule.milestones=[3]", *words)


OWN = """
import torch
from lt_bench.methods.supcon import SupCon
raise RuntimeError("imported")

class Mine(SupCon):
    def __init__(self, encoder, info, *, sharpness: float, **others):
        super().__init__(encoder, info, **others)
"""


def test_a_class_in_a_file_of_the_current_folder_is_checked_without_importing_it(tmp_path):
    (tmp_path / "my_method.py").write_text(OWN)
    (tmp_path / "stub").mkdir()

    def dry_run(*words):
        command = [sys.executable, "-m", "lt_bench", "--dry-run", "method=supcon", "method._target_=my_method.Mine"]
        return subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)

    environment = without_torch(tmp_path / "stub")
    assert dry_run("method.sharpness=1", "method.temperature=0.2").returncode == 0
    for word, said in (
        ("method.temperature=0.2", "method.sharpness has no value"),
        ("method.sharpness=x", "takes a number"),
        ("method.sharpnes=1", "unknown key method.sharpnes (did you mean sharpness?)"),
    ):
        refused = dry_run(word)
        assert refused.returncode == 2 and said in refused.stderr


def test_training_of_a_closed_form_is_refused():
    with pytest.raises(UsageError, match="stage_two=tau_norm trains nothing"):
        validate(compose(["method=ce", "stage_two=tau_norm", "stage_two.train.lr=0.1"]))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dataset.class_sizes=${epochs:10}", "dataset.class_sizes=10 is of the wrong kind"),
        ("dataset.mean=${train.lr}", "is of the wrong kind; dataset.mean= takes a list"),
        ("trust=${seed}", "trust"),
        ("budget.epoch_scale=nan", "budget.epoch_scale=NaN: budget.epoch_scale= takes numbers to 1e+06"),
        ("budget.epoch_scale=1e400", "budget.epoch_scale=Infinity: budget.epoch_scale= takes numbers to 1e+06"),
        ("train.recipe_epochs=${nope}", "train.recipe_epochs: Interpolation key 'nope' not found"),
        ("method._target_=${nope}", "Interpolation key 'nope' not found"),
        ("sweep=3", "each item keys with their values"),
    ],
)
def test_what_a_reference_brings_is_of_the_kind_of_its_key(word, said):
    assert said in refusal(word)
