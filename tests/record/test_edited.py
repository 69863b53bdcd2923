"""A run that was begun with other code of one's own: refused with the words to go on, and those to start anew."""

import importlib
import re
import sys

import pytest
from helpers.chain import Killed, kill_after, tiny

from lt_bench.errors import UsageError
from lt_bench.files import read_json
from lt_bench.launch.planning.plan import planned
from lt_bench.launch.sweep import carry_out
from lt_bench.record import edited
from lt_bench.record.folder import RunFolder
from lt_bench.record.identity import identities
from lt_bench.run.execute import execute

METHOD = """
from lt_bench.methods.ce import CE

class Mine(CE):
    softness = 1.0
"""
WORDS = ("method=ce", "stage_two=none", "method._target_=a_method_of_mine.Mine", "trust=[a_method_of_mine]")
WORDS = (*WORDS, "checkpoint.every_steps=1")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the method, as an edit between two starts of a process."""
    monkeypatch.syspath_prepend(tmp_path)

    def write_method(text):
        (tmp_path / "a_method_of_mine.py").write_text(text)
        sys.modules.pop("a_method_of_mine", None)
        importlib.invalidate_caches()

    yield write_method
    sys.modules.pop("a_method_of_mine", None)


def begun(folder, *words):
    """The identities of a run, and of its stage one, in a state in which it may be gone on with."""
    config = tiny(folder, *WORDS, *words)
    run, stage_one = identities(config)
    with RunFolder(config, stage_one) as made:
        (made.path / "checkpoint.pt").touch()
    return run, stage_one


def question(folder, *words):
    with pytest.raises(UsageError) as caught:
        edited.refuse_edited(tiny(folder, *WORDS, *words))
    said = str(caught.value)
    return said, *re.findall(r"own_code\.stage_one=\w+", said)


def test_the_words_are_those_of_both_versions(write, tmp_path):
    runs = tmp_path / "runs"
    write(METHOD)
    before = begun(runs)
    write(METHOD + "# edited\n")
    said, go_on, anew = question(runs)
    assert "a_method_of_mine: changed since" in said and str(runs / before[1]) in said
    assert identities(tiny(runs, *WORDS, go_on)) == before
    fresh = identities(tiny(runs, *WORDS, anew))
    assert fresh == identities(tiny(runs, *WORDS)) and not {*before} & {*fresh}
    for word in (go_on, anew):
        edited.refuse_edited(tiny(runs, *WORDS, word))


@pytest.mark.slow
def test_a_killed_run_goes_on_under_edited_code_where_that_is_asked(write, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    write(METHOD)
    run, stage_one = identities(tiny(runs, *WORDS))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 2)
        execute(tiny(runs, *WORDS))
    write(METHOD + "# edited\n")
    with pytest.raises(UsageError) as caught:
        execute(tiny(runs, *WORDS))
    go_on, _ = re.findall(r"own_code\.stage_one=\w+", str(caught.value))
    record, folder = execute(tiny(runs, *WORDS, go_on))
    assert (record.run_id, record.stage_one_id, folder.name) == (run, stage_one, run)
    assert record.settings["own_code.stage_one"] == go_on.partition("=")[2]
    assert record.environment["own_code_changed"] is True
    assert record.environment["own_code"] != read_json(runs / stage_one / edited.CODE)["sources"]
    edited.refuse_edited(tiny(runs, *WORDS))  # the other one is done: this is another run


def test_a_run_that_was_killed_between_two_checkpoints_is_asked_about(write, tmp_path):
    runs = tmp_path / "runs"
    write(METHOD)
    _, stage_one = begun(runs)
    (runs / stage_one / "checkpoint.pt").rename(runs / stage_one / "checkpoint.previous.pt")
    write(METHOD + "# edited\n")
    assert str(runs / stage_one) in question(runs)[0]


def test_a_run_of_before_own_code_had_versions_is_asked_about(write, tmp_path):
    runs = tmp_path / "runs"
    write(METHOD)
    _, stage_one = begun(runs)
    older = runs / "0123456789ab"
    (runs / stage_one).rename(older)
    (older / edited.CODE).unlink()
    text = (older / "config.yaml").read_text().replace("name: Mine", "name: ce").replace("title: Mine", "title: CE")
    (older / "config.yaml").write_text(text)
    said, anew = question(runs)
    assert f"{older} was begun by an older version" in said and f"rename it to {runs / stage_one}" in said
    edited.refuse_edited(tiny(runs, *WORDS, anew))
    edited.refuse_edited(tiny(runs, *WORDS, "train.lr=0.3"))
    older.rename(runs / stage_one)
    edited.refuse_edited(tiny(runs, *WORDS))


def test_what_is_begun_with_the_present_code_goes_on_unasked(write, tmp_path):
    runs = tmp_path / "runs"
    write(METHOD)
    begun(runs)
    write(METHOD + "# edited\n")
    _, _, anew = question(runs)
    begun(runs, anew)
    edited.refuse_edited(tiny(runs, *WORDS))
    write(METHOD)
    edited.refuse_edited(tiny(runs, *WORDS))


def test_other_settings_and_runs_that_left_nothing_are_not_asked_about(write, tmp_path):
    runs = tmp_path / "runs"
    write(METHOD)
    _, stage_one = begun(runs)
    write(METHOD + "# edited\n")
    edited.refuse_edited(tiny(runs, *WORDS, "train.lr=0.3"))
    (runs / stage_one / "checkpoint.pt").unlink()
    edited.refuse_edited(tiny(runs, *WORDS))


def test_a_version_that_no_run_was_begun_with_is_refused(write, tmp_path):
    write(METHOD)
    with pytest.raises(UsageError, match="own_code.stage_one=abc: no such run was begun"):
        edited.refuse_edited(tiny(tmp_path / "runs", *WORDS, "own_code.stage_one=abc"))


def test_a_sweep_is_refused_before_anything_of_it_is_queued(write, tmp_path):
    runs = tmp_path / "runs"
    write(METHOD)
    begun(runs)
    write(METHOD + "# edited\n")
    config = tiny(runs, *WORDS)
    with pytest.raises(UsageError, match="own_code.stage_one="):
        carry_out([planned(WORDS, config)])
    assert not (runs / identities(config)[0]).exists()
