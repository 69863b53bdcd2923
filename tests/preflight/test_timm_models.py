"""Networks of timm are known by their full names before anything is imported."""

import subprocess
import sys

import pytest
from helpers.configs import refusal, settled

from lt_bench.config import signatures
from lt_bench.preflight import packages, timm_models
from lt_bench.preflight.timm_models import full_name
from lt_bench.record.identity import identity_values

pytest.importorskip("timm", reason="pip install -e '.[timm]'")
NETWORK = ("method=ce", "backbone=timm")


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("resnet50", "resnet50.a1_in1k"),
        ("convnext_tiny", "convnext_tiny.in12k_ft_in1k"),
        ("convnext_tiny.fb_in22k", "convnext_tiny.fb_in22k"),
        ("nothing_of_timm", "nothing_of_timm"),
    ],
)
def test_a_model_has_the_tag_of_its_weights(typed, full):
    assert full_name(typed) == full


@pytest.mark.slow
def test_names_and_tags_are_those_of_timm():
    """Tags that its sources make up are left to timm."""
    import timm

    names, made_up = timm.list_models(), 0
    for name in names:
        config = timm.get_pretrained_cfg(name)
        expected = f"{name}.{config.tag}" if config and config.tag else name
        made_up += full_name(name) == name != expected
        assert full_name(name) in (name, expected)
    assert len(names) > 1000 and made_up < 30
    assert {*timm_models._files()} == {*names}


def test_records_and_identities_have_the_full_name():
    config = settled(*NETWORK, "backbone.model=resnet50", "backbone.pretrained=null")
    assert config.backbone["name"] == config.backbone["model"] == "resnet50.a1_in1k"
    values = identity_values(config)
    assert values["backbone.model"] == "resnet50.a1_in1k" and "backbone.pretrained" not in values
    named = settled(*NETWORK, "backbone.model=resnet50", "backbone.name=mine")
    assert named.backbone["name"] == "mine" and identity_values(named)["backbone.pretrained"] == "timm"


@pytest.mark.parametrize("preset", ["clip_vit_b16", "clip_vit_l14", "in21k_vit_b16", "convnext_tiny", "vit_small"])
def test_presets_are_called_by_their_model(preset):
    config = settled("method=ce", f"backbone={preset}")
    assert "." in config.backbone["model"] == config.backbone["name"] and config.backbone["pretrained"] == "timm"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backbone.model=test_vitt"], "timm has no network test_vitt (did you mean test_vit?); set backbone.model="),
        (
            ["backbone.model=resnet10t.other"],
            "timm has no such weights of resnet10t; backbone.model= takes resnet10t",
        ),
        (
            ["backbone.model=test_vit", "backbone.input_pool=2"],
            "networks of timm resize images; set backbone.input",
        ),
        (["backbone.model=test_vit", "backbone.mean=3"], "backbone.mean=3 is of the wrong kind"),
        ([], "backbone.model has no value; set it with backbone.model=VALUE"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(words, said):
    assert said in refusal(*NETWORK, *words)


def test_published_weights_of_timm_are_for_its_networks():
    assert "backbone=timm backbone.model=NAME" in refusal("method=ce", "backbone.pretrained=timm")


def test_weights_are_not_started_anew():
    words = ("method=simclr", "method.default_weights=true", "backbone=timm", "backbone.model=test_resnet")
    assert "method.default_weights=true would start the convolutions anew" in refusal(*words)


def test_a_missing_package_is_said_with_what_to_install(monkeypatch):
    monkeypatch.setattr(timm_models, "_files", dict)
    monkeypatch.setattr(packages, "module_file", lambda name: None)
    assert "its package timm is not installed; pip install 'lt_bench[timm]'" in refusal(
        *NETWORK, "backbone.model=test_vit"
    )


def test_further_settings_are_timms():
    config = settled(*NETWORK, "backbone.model=test_vit", "backbone.drop_path_rate=0.1")
    assert config.backbone["drop_path_rate"] == 0.1
    assert signatures.takes_more("timm.create_model")
    words = ("backbone._target_=timm.create_model", "backbone.model_name=resnet18", "backbone.num_classes=0")
    assert settled("method=ce", *words, "backbone.block_args.a=1").backbone["num_classes"] == 0


def test_nothing_is_imported_for_that():
    words = ["method=ce", "backbone=timm", "backbone.model=resnet50"]
    code = (
        "import sys; from lt_bench.config.compose import compose; from lt_bench.preflight.validate import validate; "
        f"validate(compose({words})); sys.exit(any(name in sys.modules for name in ('torch', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
