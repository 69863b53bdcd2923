"""Fine-tuning under any supervised method: what is trained and kept, how runs resume, and what is refused."""

import json

import pytest
import torch
from helpers.chain import assert_identical, killed_until_done, results, tiny
from helpers.configs import refusal, settled

from lt_bench import load
from lt_bench.config.compose import groups
from lt_bench.config.schema import Config
from lt_bench.errors import UsageError
from lt_bench.record.identity import identity_values, run_id
from lt_bench.run.execute import execute

VIT = (
    "backbone=timm", "backbone.model=vit_tiny_patch16_224", "backbone.pretrained=null", "backbone.input_size=16",
    "backbone.patch_size=8", "backbone.depth=2", "backbone.embed_dim=12",
)  # fmt: skip
MODULES = ("adaptformer", "adapter", "lora", "vpt_shallow", "vpt_deep", "ssf", "arbitrary")


def folder_of(path):
    return torch.load(path / "checkpoint.pt", weights_only=True)


def below(record, folder):
    """The checkpoint and the record of the stage one of a run."""
    first = folder.parent / record.stage_one_id
    return folder_of(first), json.loads((first / "record.json").read_text())


@pytest.mark.parametrize("method", ["ce", "balanced_softmax", "ldam_drw", "bcl"])
def test_every_supervised_method_takes_it(method, tmp_path):
    pytest.importorskip("timm")
    config = tiny(tmp_path, f"method={method}", "finetune=adaptformer", "stage_two=none", *VIT)
    record, folder = execute(config)
    state, stage_one = below(record, folder)
    modules = {name for name in state["model"] if name.startswith("encoder.")}
    assert modules and all(".beside." in name or name == "encoder.frozen_sha256" for name in modules)
    trained = sum(one.numel() for name, one in state["model"].items() if ".beside." in name)
    counts = stage_one["environment"]["trained_parameters"]
    assert counts["modules"] == trained == 2 * (2 * 12 * 2 + 3 * 12 + 2 + 1)
    assert counts["classifier"] == (120 if method == "ldam_drw" else 130) and ("others" in counts) == (method == "bcl")
    assert record.environment["total_parameters"] > sum(counts.values())
    assert record.method_name.endswith(", AdaptFormer")
    slots = sum(len(group["params"]) for group in state["optimizer"]["param_groups"])
    assert slots == len([name for name in state["model"] if name.endswith(("weight", "bias", "scale"))])


@pytest.mark.parametrize("kind", sorted(set(groups()["finetune"]) - {"none", "adaptformer"}))
def test_every_kind_runs_and_is_predicted_with(kind, tmp_path):
    pytest.importorskip("timm")
    record, folder = execute(tiny(tmp_path, "method=ce", f"finetune={kind}", "stage_two=none", *VIT))
    state, _ = below(record, folder)
    kept = [name for name in state["model"] if name.startswith("encoder.") and name != "encoder.frozen_sha256"]
    counts = record.environment["trained_parameters"]
    assert bool(kept) == bool(counts["modules"]) == (kind != "head")
    predictor = load(folder)
    assert any(name == "frozen_sha256" for name in predictor.encoder.state_dict()) == (kind in MODULES)
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert predictor.encoder(images).shape == (4, 12)


@pytest.mark.parametrize("kind", ["full", "head", "bitfit", "layernorm", "head_first"])
def test_convolutional_networks_take_what_is_no_module(kind, tmp_path):
    record, folder = execute(tiny(tmp_path, "method=balanced_softmax", f"finetune={kind}", "stage_two=cb"))
    assert record.method_name.startswith("Balanced Softmax, ")
    state, _ = below(record, folder)
    statistics = [name for name in state["model"] if "running_mean" in name]
    assert bool(statistics) == (kind in ("full", "head_first", "layernorm"))


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    words = ("method=lift", "method.finetune.kind=adaptformer", "stage_two=none", "train.epochs=2", *VIT)
    whole = results(*execute(tiny(tmp_path / "whole", *words)))
    often = ("checkpoint.every_steps=1", "evaluation.select=last")
    killed, done = killed_until_done(tiny(tmp_path / "killed", *words, *often), monkeypatch, steps=2)
    assert killed
    assert_identical(results(*done), whole)


def test_frozen_weights_that_are_others_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    from lt_bench.engine import trained
    from lt_bench.engine.trained import load_trained, trained_state
    from lt_bench.models.finetuned import FineTuned
    from lt_bench.models.tiny import TinyEncoder

    def made(seed):
        torch.manual_seed(seed)
        method = torch.nn.Module()
        method.encoder = FineTuned(TinyEncoder(), "head")
        method.classifier = torch.nn.Linear(64, 3)
        return method

    one, same, other = made(0), made(0), made(1)
    assert trained_state(one).keys() == {"encoder.frozen_sha256", "classifier.weight", "classifier.bias"}
    load_trained(same, trained_state(one))
    with pytest.raises(RuntimeError, match="frozen weights are others"):
        load_trained(other, trained_state(one))
    assert trained.parameter_counts(one)["trained_parameters"] == {"modules": 0, "classifier": 195}


def test_none_adds_no_key_and_changes_no_identity():
    assert "finetune" not in settled("method=ce").method
    assert settled("method=ce", "finetune=none") == settled("method=ce")
    plain, tuned = settled("method=ce"), settled("method=ce", "finetune=head")
    assert run_id(plain) != run_id(tuned)
    keys = {key for key in identity_values(tuned) if key.startswith("method.finetune")}
    assert keys == {"method.finetune._target_", "method.finetune.kind"}
    usual = settled("method=ce", "finetune=head", "method.finetune.start=none", "method.finetune.mask_seed=0")
    assert run_id(usual) == run_id(tuned)


def test_a_choice_has_a_length_of_its_own_and_what_is_counted_in_epochs_moves_with_it():
    config: Config = settled("method=ldam_drw", "finetune=lora", "dataset=cifar100_lt")
    assert (config.train.epochs, config.method["drw_start_epoch"], config.train.recipe_epochs) == (10, 8, 200)
    assert (config.train.lr, config.train.optimizer["weight_decay"], config.train.batch_size) == (0.01, 5e-4, 128)
    longer = settled("method=ldam_drw", "finetune=lora", "dataset=cifar100_lt", "train.epochs=20")
    assert (longer.train.epochs, longer.method["drw_start_epoch"]) == (20, 16)
    full = settled("method=ce", "finetune=full", "dataset=imagenet_lt")
    assert full.train.optimizer["_target_"] == "torch.optim.AdamW" and full.train.layer_decay == 0.75
    assert settled("method=lift", "dataset=inat18").train.epochs == 20
    assert settled("method=lift").train.recipe_epochs is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=simclr", "finetune=head"], "method=simclr never reads labels; set finetune=none"),
        (["method=supcon", "finetune=head_first"], "method=supcon trains none; set method.finetune.start=none"),
        (["method=ce", "finetune=loraa"], "unknown finetune 'loraa' (did you mean lora?)"),
        (["method=ce", "finetune=lora", "method.finetune.kind=lore"], "method.finetune.kind=lore is of the wrong kind"),
        (["method=ce", "method.finetune.kind=lora"], "method.finetune"),
        (
            ["method=lift", "method.finetune.start=text", "method.finetune.text_features=nowhere.npz"],
            "method.finetune.text_features=nowhere.npz: no such file",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(words, said):
    assert said in refusal(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["finetune=lora"], "for this network, which is no plain vision transformer of timm"),
        (["finetune=blocks"], "for this network, which is no plain vision transformer of timm"),
        (["finetune=head", "method.finetune.size=4"], "method.finetune.size is null for head"),
        (["finetune=full", "method.finetune.blocks=2"], "method.finetune.blocks is null where all is trained"),
        (["finetune=bitfit", "method.finetune.blocks=2"], "method.finetune.blocks is null for a network that is no"),
        (["finetune=head", "method.finetune.start=text"], "method.finetune.text_features is a file"),
    ],
)
def test_what_a_network_cannot_have_is_refused_before_training(words, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        execute(tiny(tmp_path, "method=ce", *words))
