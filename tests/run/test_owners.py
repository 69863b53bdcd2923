"""Errors have owners: what a user can set is said in one line, what is a defect keeps its traceback."""

import json
import subprocess
import sys

import pytest
from helpers.chain import TINY, execute, tiny

from lt_bench.__main__ import main
from lt_bench.errors import SettingError, UsageError, keyed, renamed

METHOD = """
from lt_bench.errors import SettingError
from lt_bench.methods.ce import CE

class Mine(CE):
    def __init__(self, encoder, info, *, kind=ValueError, at="forward", **options):
        super().__init__(encoder, info, **options)
        self.raised = {"value": ValueError("no such thing"), "type": TypeError("no such thing")}.get(kind)
        self.at = at
        if kind == "setting":
            raise SettingError("kind", "value or type", kind, "value")
        self._maybe("init")

    def _maybe(self, here):
        if self.at == here:
            raise self.raised

    def on_epoch_start(self, epoch, context):
        self._maybe("epoch")

    def forward(self, batch, epoch, step, context):
        self._maybe("forward")
        return super().forward(batch, epoch, step, context)
"""

PARTS = """
from lt_bench.stage_two.cb import ClassBalanced

def source(root):
    raise ValueError("no such thing")

class InInit:
    def __init__(self, lr):
        raise ValueError("no such thing")

class InCall:
    def __init__(self, lr):
        pass

    def __call__(self, epoch, step, steps_per_epoch):
        raise ValueError("no such thing")

class InBuild(ClassBalanced):
    def build(self, encoder, classifier, info):
        raise ValueError("no such thing")

class InFinish(ClassBalanced):
    def finish(self, method, context):
        raise ValueError("no such thing")
"""


def failing(words, monkeypatch, folder):
    """What a run with such a defect says in the one line before its traceback, which Python prints."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    with pytest.raises((ValueError, TypeError), match="^no such thing$") as caught:
        main([*TINY, f"output_dir={folder / 'runs'}", *words])
    assert not isinstance(caught.value, (UsageError, SettingError))


@pytest.fixture
def own(tmp_path):
    """A folder with a method and other parts of a user's own, which can be imported."""
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path


MINE = ["method=ce", "method._target_=mine.Mine", "method.name=mine"]


@pytest.mark.parametrize("kind", ["value", "type"])
@pytest.mark.parametrize("at", ["init", "epoch", "forward"])
def test_a_defect_of_a_users_own_method_keeps_its_traceback(kind, at, own, monkeypatch, capsys):
    failing([*MINE, f"method.kind={kind}", f"method.at={at}"], monkeypatch, own)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    error = {"value": "ValueError", "type": "TypeError"}[kind]
    traces = list(own.glob("runs/*/trace.txt"))
    assert said.startswith(f"lt_bench: {error}, probably a defect of mine ({own / 'mine.py'}, line ")
    assert any(said.endswith(f"; its traceback is kept in {trace}") for trace in traces)
    for trace in traces:
        assert trace.read_text().endswith(f"{error}: no such thing\n") and "in _maybe" in trace.read_text()
        status = json.loads(trace.with_name("status.json").read_text())
        assert (status["state"], status["error"]) == ("failed", f"{error}: no such thing")


def command(*words, **options):
    return subprocess.run([sys.executable, "-m", "lt_bench", *words], capture_output=True, text=True, **options)


def test_the_command_line_says_one_line_or_a_traceback(own):
    words = [*TINY, f"output_dir={own / 'runs'}"]
    refused = command(*words, "method.temperature=-1", cwd=own)
    assert refused.returncode == 2
    assert refused.stderr == "lt_bench: method.temperature is above 0, not -1.0; set method.temperature=0.1\n"
    broken = command(*words, *MINE, "method.kind=value", cwd=own)
    first, second, *_, last = broken.stderr.splitlines()
    assert broken.returncode == 1 and first.startswith("lt_bench: ValueError, probably a defect of mine (")
    assert (second, last) == ("Traceback (most recent call last):", "ValueError: no such thing")


@pytest.mark.slow
def test_a_sweep_shows_the_last_line_of_a_traceback(own):
    swept = command(*TINY, *MINE, "method.kind=value,type", f"output_dir={own / 'runs'}", "-m", cwd=own)
    assert swept.returncode == 1
    for error in ("ValueError", "TypeError"):
        assert f"failed (exit 1): {error}: no such thing" in swept.stdout + swept.stderr


SCHEDULE = [f"~train.schedule.{name}" for name in ("milestones", "gamma", "warm_epochs")]


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        (["dataset._target_=parts.source"], 1),
        ([*SCHEDULE, "train.schedule._target_=parts.InInit"], 2),
        ([*SCHEDULE, "train.schedule._target_=parts.InCall"], 2),
        (["stage_two=cb", "stage_two._target_=parts.InBuild", "stage_two.name=mine"], 1),
        (["stage_two=cb", "stage_two._target_=parts.InFinish", "stage_two.name=mine"], 1),
    ],
)
def test_a_defect_of_another_part_keeps_its_traceback(words, folders, own, monkeypatch, capsys):
    failing(["method=ce", *words], monkeypatch, own)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"lt_bench: ValueError, probably a defect of parts ({own / 'parts.py'}, line ")
    assert len(list(own.glob("runs/*/trace.txt"))) == folders
    assert said.endswith("its traceback follows" if not folders else "trace.txt")


def test_a_setting_that_a_users_own_method_refuses_is_the_users(own, monkeypatch, capsys):
    monkeypatch.syspath_prepend(own)
    monkeypatch.chdir(own)
    assert main([*TINY, f"output_dir={own / 'runs'}", *MINE, "method.kind=setting"]) == 2
    assert capsys.readouterr().err == ("lt_bench: method.kind is value or type, not 'setting'; set method.kind=value\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method.temperature=-1"], "method.temperature is above 0, not -1.0; set method.temperature=0.1"),
        (["method.views=[simclr]"], "method.views is a list of two views, not ['simclr']; set method.views="),
        (["method.projection_dim=0"], "method.projection_dim is at least one output, not 0; set method.proj"),
        (["method=paco", "method.queue_size=0"], "method.queue_size is at least one entry, not 0; set method.queue_"),
        (["method=ce", "stage_two=tau_norm", "stage_two.tau=-1"], "stage_two.tau is a number from 0, usually to 2"),
        (
            ["method=simclr_gh", "method.harmonization.memory_start=9", "method.harmonization.warm_epochs=5"],
            "method.harmonization.memory_start is at most 5, ",
        ),
        (["method=simclr_gh", "method.harmonization={construction:official,target_dim:99}", "method.projection_dim=9"],
         "method.harmonization.target_dim is from 2 to 10, "),
        (["dataset.crop_scale=[0.9,0.2]"], "dataset.crop_scale is a range with 0 < low <= high, not [0.9, 0.2]"),
        (["dataset.color_jitter=[0,0,0,0.6]"], "dataset.color_jitter is from 0 to 0.5 for the hue, not 0.6"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_said_in_one_line_with_its_key(words, said, tmp_path, capsys):
    assert main([*TINY, f"output_dir={tmp_path}", *words]) == 2
    line, *others = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lt_bench: {said}") and not others
    assert f"set {said.partition(' ')[0]}=" in line


TWENTY = ["imbalance=native", "dataset.pool_per_class=2", "method.views=[plain,plain]", "train.drop_last=false"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.batch_size=1"], "train.batch_size is at least 2, because .* not 1; set train.batch_size=2"),
        (["train.batch_size=19"], "train.drop_last is true where one image is left .*; set train.drop_last=true"),
    ],
)
def test_a_batch_norm_that_is_given_one_value_says_what_to_set(words, said, tmp_path):
    config = tiny(tmp_path, "method=paco", *TWENTY, *words)  # its head has a batch norm over the first view alone
    with pytest.raises(UsageError, match=f"^{said}$"):
        execute(config)


def test_a_batch_norm_over_several_pixels_trains_on_one_image(tmp_path):
    execute(tiny(tmp_path, "method=ce", *TWENTY[:2], "train.batch_size=1", "stage_two=none"))


def test_keys_and_names_are_added_by_who_knows_them():
    with pytest.raises(UsageError, match="^method.queue_size is at least 1, not 0; set method.queue_size=8$"):
        with keyed("method"), renamed(size="queue_size"):
            raise SettingError("size", "at least 1", 0, 8)
    with pytest.raises(UsageError, match="^a.b is odd, not 2; set a.b=VALUE$"), keyed("a"):
        raise SettingError("b", "odd", 2)
    with pytest.raises(ValueError, match="^other$") as caught, keyed("a"), renamed(b="c"):
        raise ValueError("other")
    assert type(caught.value) is ValueError
