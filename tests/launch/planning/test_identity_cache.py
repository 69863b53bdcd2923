"""Identities are cached for exactly the files that they depend on."""

import importlib.metadata

import pytest

from lt_bench.files import read_json, write_json
from lt_bench.launch.planning import identity_cache
from lt_bench.launch.planning.identity_cache import cache_identities, cached_identities, fingerprint
from lt_bench.launch.planning.plan import plan
from lt_bench.models.weight_files import PICKLE
from lt_bench.record import identity
from lt_bench.record.record import PREDICTOR

OVERRIDES = ["method=ce,sbcl", "stage_two=cb", "seed=1,2"]


def cached(tmp_path, *overrides):
    runs = plan([*overrides, f"output_dir={tmp_path}"])
    cache_identities(
        str(tmp_path), {run.overrides: (run.identity, run.stage_one) for run in runs}, [run.config for run in runs]
    )
    return runs


def test_of_a_cached_sweep_only_the_first_run_is_composed(tmp_path, monkeypatch):
    runs = cached(tmp_path, *OVERRIDES)
    composed = []
    monkeypatch.setattr(
        "lt_bench.launch.planning.variants.compose", lambda overrides: composed.append(overrides) or _compose(overrides)
    )
    again = plan([*OVERRIDES, f"output_dir={tmp_path}"])
    assert again == runs and len(composed) == 1
    assert again[3].composed is None and again[3].config == runs[3].config  # composed when it is used


def _compose(overrides):
    from lt_bench.config.compose import compose

    return compose(overrides)


def test_other_overrides_are_composed_and_added(tmp_path):
    cached(tmp_path, *OVERRIDES)
    cached(tmp_path, "method=ce", "seed=7")
    assert len(cached_identities(str(tmp_path))) == 5


@pytest.mark.parametrize("name", ["conf/method/ce.yaml", "record/identity.py", "launch/planning/plan.py"])
def test_a_change_of_a_file_makes_the_cache_invalid(name, tmp_path, monkeypatch):
    cached(tmp_path, *OVERRIDES)
    copies = {"lt_bench": tmp_path / "a", "lt_bench.conf": tmp_path / "a" / "conf", "lt_bench.launch": tmp_path / "a"}
    file = tmp_path / "a" / name
    file.parent.mkdir(parents=True)
    file.write_text("x")
    monkeypatch.setattr(identity_cache, "files", copies.__getitem__)
    fingerprint.cache_clear()
    before = fingerprint()
    assert cached_identities(str(tmp_path)) == {}
    file.write_text("y")
    fingerprint.cache_clear()
    assert fingerprint() != before
    monkeypatch.undo()
    fingerprint.cache_clear()
    assert len(cached_identities(str(tmp_path))) == 4


def test_runs_with_classes_of_the_user_are_not_cached(tmp_path, monkeypatch):
    (tmp_path / "never_cached.py").write_text("class Mine:\n    def __init__(self, encoder, info, x: int = 1): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    cached(tmp_path, "method=ce", "stage_two=cb", "method._target_=never_cached.Mine", "trust=[never_cached]")
    assert not (tmp_path / "launch").exists()


BY_CONTENT = {
    "backbone.pretrained": ["method=ce", "backbone=resnet18", "backbone.pretrained={}/weights.pth"],
    "method.teacher": ["method=ride", "dataset=cifar10_lt", "method.teacher={}"],
    "method.finetune.text_features": [
        "method=lift",
        "dataset=cifar10_lt",
        "method.finetune.text_features={}/texts.safetensors",
    ],
    "dataset.split_dir": ["method=ce", "dataset.split_dir={}", "split_seed=1"],
    "stage_two.text_features": [
        "method=ce",
        "stage_two._target_=lt_bench.stage_two.zero_shot.ZeroShot",
        "stage_two.text_features={}/texts.safetensors",
    ],
}


@pytest.mark.parametrize("key", BY_CONTENT)
def test_runs_that_depend_on_files_of_the_user_are_not_cached(key, tmp_path):
    assert BY_CONTENT.keys() == {*identity.BY_CONTENT}
    (tmp_path / "weights.pth").write_bytes(PICKLE)  # as weights begin
    for name in ("texts.safetensors", PREDICTOR):
        (tmp_path / name).write_bytes(b"before")
    words = [word.format(tmp_path) for word in BY_CONTENT[key]]
    runs = cached(tmp_path, *words, "seed=1,2")
    assert not (tmp_path / "launch").exists()
    if key in ("method.teacher", *identity.TEXTS):
        for name in ("texts.safetensors", PREDICTOR):
            (tmp_path / name).write_bytes(b"another one")
        again = plan([*words, "seed=1,2", f"output_dir={tmp_path}"])
        assert not {run.identity for run in again} & {run.identity for run in runs}


def test_another_version_of_timm_makes_the_cache_invalid(tmp_path, monkeypatch):
    cached(tmp_path, *OVERRIDES)
    monkeypatch.setattr(
        identity_cache, "version", lambda name: "0.0" if name == "timm" else importlib.metadata.version(name)
    )
    fingerprint.cache_clear()
    assert cached_identities(str(tmp_path)) == {}
    monkeypatch.undo()
    fingerprint.cache_clear()


def test_a_damaged_cache_is_empty(tmp_path):
    cached(tmp_path, *OVERRIDES)
    (tmp_path / "launch" / "plan.json").write_text("{")
    assert cached_identities(str(tmp_path)) == {} and read_json(tmp_path / "launch" / "plan.json") == {}


@pytest.mark.parametrize("found", [["../../x", "299f5e99dbd3"], ["299f5e99dbd3"], "299f5e99dbd3", [1, 2], None])
def test_what_is_no_identity_is_not_taken_from_a_cache_that_may_be_anybodys(found, tmp_path):
    (run,) = cached(tmp_path, "method=ce", "stage_two=cb")
    path = tmp_path / "launch" / "plan.json"
    write_json(path, {**read_json(path), "runs": {"x": found}})
    assert cached_identities(str(tmp_path)) == {}
    write_json(path, {**read_json(path), "runs": [found]})
    assert cached_identities(str(tmp_path)) == {} and run.identity
