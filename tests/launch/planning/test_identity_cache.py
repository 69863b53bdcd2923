"""What words stand for is cached_identities for exactly the files that it depends on."""

import pytest

from lt_bench.launch.planning import identity_cache
from lt_bench.launch.planning.identity_cache import cache_identities, cached_identities, fingerprint
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import read_json

WORDS = ["method=ce,sbcl", "stage_two=cb", "seed=1,2"]


def kept(tmp_path, *words):
    runs = plan([*words, f"output_dir={tmp_path}"])
    cache_identities(
        str(tmp_path), {run.overrides: (run.identity, run.stage_one) for run in runs}, [run.config for run in runs]
    )
    return runs


def test_a_remembered_sweep_is_composed_once_to_learn_where_it_is(tmp_path, monkeypatch):
    runs = kept(tmp_path, *WORDS)
    composed = []
    monkeypatch.setattr(
        "lt_bench.launch.planning.variants.compose", lambda words: composed.append(words) or _compose(words)
    )
    again = plan([*WORDS, f"output_dir={tmp_path}"])
    assert again == runs and len(composed) == 1
    assert again[3].composed is None and again[3].config == runs[3].config  # composed when there is a need


def _compose(words):
    from lt_bench.config.compose import compose

    return compose(words)


def test_other_words_are_composed_and_added(tmp_path):
    kept(tmp_path, *WORDS)
    kept(tmp_path, "method=ce", "seed=7")
    assert len(cached_identities(str(tmp_path))) == 5


@pytest.mark.parametrize("name", ["conf/method/ce.yaml", "run_id.py", "launch/plan.py"])
def test_a_change_of_a_file_forgets_everything(name, tmp_path, monkeypatch):
    kept(tmp_path, *WORDS)
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


def test_classes_from_elsewhere_are_not_remembered(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self, encoder, info, x: int = 1): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    kept(tmp_path, "method=ce", "stage_two=cb", "method._target_=mine.Mine")
    assert not (tmp_path / "launch").exists()


def test_runs_that_count_files_of_the_user_are_not_remembered(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"weights")
    kept(tmp_path, "method=ce", f"backbone.pretrained={tmp_path / 'weights.pth'}", "backbone=resnet18")
    assert not (tmp_path / "launch").exists()


def test_a_damaged_memory_is_none(tmp_path):
    kept(tmp_path, *WORDS)
    (tmp_path / "launch" / "plan.json").write_text("{")
    assert cached_identities(str(tmp_path)) == {} and read_json(tmp_path / "launch" / "plan.json") == {}
