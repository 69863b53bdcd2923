"""Trackers are chosen as a list, and what is wrong with one is said before anything is trained."""

import re
import sys
from pathlib import Path

import pytest

from lt_bench.config.compose import compose, groups
from lt_bench.config.schema import Config, plain
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze, thaw
from lt_bench.preflight import packages, trackers
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities

PAGE = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
OURS = [name for name in groups()["tracker"] if name != "none"]


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(packages, "module_file", lambda name: Path(name))


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("tracker=none", []),
        ("tracker=[]", []),
        ("tracker=wandb", ["wandb"]),
        ("tracker=[wandb,tensorboard,wandb]", ["wandb", "tensorboard"]),
        ("tracker=['mlflow', none]", ["mlflow"]),
    ],
)
def test_one_several_or_none_are_chosen_and_no_identity_changes(word, names, installed):
    config = validate(compose([word, "method=ce"]))
    assert list(config.tracker) == names
    assert identities(config) == identities(validate(compose(["method=ce"])))


def test_none_adds_no_key():
    assert plain(Config())["tracker"] == {} == compose(["tracker=none"]).tracker


def test_settings_of_a_tracker_are_typed_beside_it(installed):
    config = validate(
        compose(["tracker=[wandb,mlflow]", "tracker.wandb.mode=online", "tracker.mlflow.experiment=tails"])
    )
    assert (config.tracker["wandb"]["mode"], config.tracker["mlflow"]["experiment"]) == ("online", "tails")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tracker=wandb,mlflow"], "write tracker=[wandb,mlflow]"),
        (["tracker=choice(wandb,mlflow)"], "write tracker=[A,B]"),
        (["tracker=glob(*)"], "write tracker=[A,B]"),
        (["tracker=[wandb,mflow]"], "unknown tracker 'mflow' (did you mean mlflow?)"),
        (["tracker=null"], "unknown tracker 'null'"),
        (["tracker.wandb.mode=online"], "tracker.wandb names no class; add tracker=wandb"),
        (["tracker.mine.path=x"], "add tracker.mine._target_=my_module.Mine"),
        (["tracker.mine=x"], "tracker.mine is no single value"),
        (["tracker=wandb", "tracker.wandb.mode=sometimes"], "tracker.wandb.mode= takes offline, online"),
        (["tracker=wandb", "tracker.wandb.projct=x"], "unknown key tracker.wandb.projct (did you mean project?)"),
        (
            ["tracker=wandb", "tracker.wandb.api_key=x"],
            "tracker.wandb.api_key: a secret would stand in every run folder",
        ),
        (["tracker=mlflow", "tracker.mlflow.server=https://me:word@host"], "tracker.mlflow.server: a secret"),
        (["tracker.mine._target_=shutil.rmtree", "tracker.mine.path=x"], "add trust=[shutil]"),
        (["tracker.mine._target_=torch.optim.SGD"], "add trust=[torch]"),
        (
            ["tracker.mine._target_=lt_bench.models.tiny.TinyEncoder"],
            "no component of lt_bench that tracker.mine can be",
        ),
        (["train.schedule._target_=lt_bench.trackers.wandb.WandB"], "no component of lt_bench"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_type(words, said, installed):
    with pytest.raises(UsageError, match=re.escape(said)):
        validate(compose(words))


def test_a_name_that_could_be_a_path_is_refused():
    config = Config(tracker={"../x": {"_target_": "lt_bench.trackers.wandb.WandB"}})
    assert "its name is letters" in next(trackers.wrong_trackers(config))


@pytest.mark.parametrize("name", OURS)
def test_a_package_that_is_missing_is_said_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(packages, "module_file", lambda package: None)
    with pytest.raises(UsageError, match=re.escape(f"is not installed; pip install 'lt_bench[{name}]'")):
        validate(compose([f"tracker={name}"]))
    validate(compose([f"tracker={name}"]), frozen=True)  # a run folder can be read where it is not


def test_no_package_of_a_tracker_is_imported_before_its_process(installed):
    before = {*sys.modules}
    validate(compose([f"tracker=[{','.join(OURS)}]"]))
    assert not {name for name in {*sys.modules} - before if name.partition(".")[0] in OURS}


def test_every_run_of_a_sweep_has_all_trackers(installed):
    runs = plan(["method=ce", "seed=0,1", "tracker=[tensorboard,wandb]"])
    assert [list(run.config.tracker) for run in runs] == [["tensorboard", "wandb"]] * 2
    assert [run.identity for run in runs] == [run.identity for run in plan(["method=ce", "seed=0,1"])]


def test_commands_of_the_page_name_what_is_there(installed):
    commands = re.findall(r"^    lt-bench ([^#\n]*)", PAGE, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        words = [word for word in command.split() if "mine" not in word]
        assert plan(words[1:]) if words[0] == "-m" else validate(compose(words))


def test_a_submitted_run_has_its_trackers_in_any_folder(installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["tracker=[tensorboard,wandb]", "tracker.tensorboard.folder=events", "method=ce"]
    config = validate(compose([*words, f"output_dir={tmp_path}/runs"]))
    folder = freeze(Submission(config, False, {}, tuple(words)), identities(config)[0])
    monkeypatch.chdir("/")
    assert thaw(folder).config.tracker["tensorboard"]["folder"] == str(tmp_path / "events")
