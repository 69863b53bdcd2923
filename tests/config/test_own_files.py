"""Choices of one's own, in lt_bench_conf/ or the folder of --config-dir: found, in the identity, never read unasked."""

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from helpers.command_line import call

from lt_bench.__main__ import main
from lt_bench.config.compose import compose, groups
from lt_bench.config.heads import check_heads
from lt_bench.config.layers import default_choices
from lt_bench.config.own_files import FOLDER, own_files
from lt_bench.errors import UsageError
from lt_bench.launch.planning.plan import plan
from lt_bench.record.identity import run_id

CONF = Path(str(files("lt_bench.conf")))
METHOD = "# @package _global_\n# CE with a rate of its own\ndefaults: [ce]\nmethod: {name: mine, title: Mine}\n"
METHOD += "train: {lr: 0.05}\n"
SCRIPT = Path(sys.executable).with_name("lt-bench")
EVIL = "open('ran.txt', 'w').close()\nclass Mine:\n    def __init__(self, encoder, info): ...\n"


def write(folder, name, text=METHOD):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of one's own choices in the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / FOLDER


def identity(*words):
    return plan([*words, "stage_two=none"])[0].identity


def refusal(*words):
    with pytest.raises(UsageError) as refused:
        compose(words)
    return str(refused.value)


def test_a_method_of_ones_own_is_a_choice_and_its_values_are_its_identity(here):
    path = write(here, "method/mine.yaml")
    first = identity("method=mine")
    assert "mine" in groups()["method"] and compose(["method=mine"]).train.lr == 0.05
    assert first != identity("method=ce")
    path.write_text(METHOD.replace("a rate", "the rate"))  # a comment
    changed = {}
    for name, text in {"comment": path.read_text(), "value": METHOD.replace("0.05", "0.06")}.items():
        path.write_text(text)
        done = call("--dry-run", "method=mine", "stage_two=none", cwd=here.parent)
        assert done.returncode == 0, done.stderr
        changed[name] = done.stdout.split()[1]
    assert changed["comment"] == first != changed["value"]


def test_a_copied_launch_profile_works_under_its_own_name_and_decides_no_result(here):
    (here / "launch").mkdir(parents=True)
    shutil.copy(CONF / "launch" / "slurm.yaml", here / "launch" / "mine.yaml")
    shutil.copy(CONF / "launch" / "local.yaml", here / "launch" / "local.yaml")  # unchanged, it is the package's
    assert compose(["launch=mine"]).launch.executor == "slurm"
    assert identity("method=ce", "launch=mine") == identity("method=ce")


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        ({"method": "ce", "dataset": "cifar100_lt"}, []),
        ({"method": "ce", "dataset": "cifar100_lt"}, ["method=bcl"]),
        ({"method": "simclr_gh"}, []),
        ({"method": "ce", "dataset": "cifar100_lt", "variant": "strong"}, []),
        ({"recipe": "sbcl_cifar100_lt"}, ["dataset=cifar100_lt"]),
        ({"recipe": "none"}, []),
    ],
)
def test_an_experiment_of_ones_own_chooses_with_the_recipes_of_what_it_chooses(chosen, typed, here):
    lines = "".join(f"  - override /{group}: {choice}\n" for group, choice in chosen.items())
    write(here, "experiment/mine.yaml", f"# @package _global_\n# mine\ndefaults:\n{lines}seed: 3\n")
    words = [f"{group}={choice}" for group, choice in chosen.items()]
    assert compose(["experiment=mine", *typed]) == compose([*words, *typed, "seed=3"])


@pytest.mark.parametrize("name", ["method/mine.yaml", "method/ce.yaml"])
def test_a_pipe_is_refused_and_not_waited_for(name, here):
    (here / "method").mkdir(parents=True)
    os.mkfifo(here / name)
    assert f"{name}: it is no regular file; remove it" in refusal("method=ce")


def test_a_pipe_that_is_no_choice_is_not_waited_for(here):
    write(here, "method/mine.yaml")
    os.mkfifo(here / "method" / "mine.py")
    assert identity("method=mine") == identity("method=mine")


def test_recipes_and_experiments_of_ones_own(here):
    write(here, "method/mine.yaml")
    write(here, "recipe/mine_digits_lt.yaml", "# @package _global_\ntrain: {lr: 0.07}\n")
    write(here, "experiment/table.yaml", "# @package _global_\nsweep:\n  - {method: 'mine,ce', seed: '0,1'}\n")
    assert compose(["method=mine"]).train.lr == 0.07 and compose(["method=mine", "recipe=none"]).train.lr == 0.05
    assert len(plan(["experiment=table"])) == 4


def test_nothing_of_ones_own_is_read_unless_it_is_named(tmp_path, monkeypatch):
    """A recipe in a stranger's folder would be picked by its name and run the stranger's code."""
    methods, datasets, recipes = (groups()[name] for name in ("method", "dataset", "recipe"))
    names = {f"{method}_{data}" for method in methods for data in datasets} - {*recipes}
    for name in names:
        write(tmp_path / FOLDER, f"recipe/{name}.yaml", "# @package _global_\nmethod: {_target_: evil.Mine}\n")
    for name in ("gh_image_folder", "simclr_gh_image_folder"):
        write(tmp_path / FOLDER, f"harmonization/recipe/{name}.yaml", "# @package _global_\ntrain: {lr: 77}\n")
    write(tmp_path, "evil.py", EVIL)
    monkeypatch.chdir(tmp_path)
    words = ["dataset=image_folder", "dataset.root=x", "dataset.num_classes=2"]
    assert {"ce_image_folder", "simclr_image_folder"} <= names
    for method in ("ce", "bcl", "simclr", "simclr_gh"):
        config = compose([f"method={method}", *words])
        assert config.method._target_.startswith("lt_bench.") and config.train.lr != 77
    assert compose(["method=ce", *words, "recipe=ce_image_folder"]).method._target_ == "evil.Mine"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("method/ce.yaml", METHOD, "the package has method=ce; give yours another name, such as my_ce.yaml"),
        ("methods/mine.yaml", METHOD, "methods is no group of choices; put it into a folder named backbone, budget"),
        ("mine.yaml", METHOD, "it is no group of choices"),
        ("config.yaml", "", "it is no group of choices"),
        ("quirks/ce_official.yaml", METHOD, "quirks is no group of choices"),
        ("harmonization/quirks/x_official.yaml", METHOD, "harmonization/quirks is no group of choices"),
        ("hydra/job_logging/mine.yaml", "", "hydra/job_logging is no group"),
        ("method/mine.yml", METHOD, "files of choices end in .yaml; rename it"),
        ("method/my-own.yaml", METHOD, "'my-own' can be no choice"),
        ("method/null.yaml", METHOD, "'null' can be no choice"),
        ("launch/Inf.yaml", METHOD, "'Inf' can be no choice"),
        ("method/mine.yaml", "a: [", f"{FOLDER}/method/mine.yaml: no YAML (line 1"),
        ("method/mine.yaml", METHOD + "nonsense: 1\n", "unknown key nonsense"),
        ("method/mine.yaml", METHOD + "trust: [os]\n", "what is trusted is typed, and stands in no file"),
    ],
)
def test_a_file_that_can_be_none_is_named(name, text, said, here):
    write(here, name, text)
    assert said in refusal("method=mine")


def experiment(*lines, head="# @package _global_"):
    return "\n".join([head, "defaults:", *(f"  - {line}" for line in lines), ""])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            experiment("override /optimizer: adam"),
            "set train: {optimizer: {name: adam}} beside them, or type optimizer=adam",
        ),
        (experiment("override /method: bcll"), "unknown method 'bcll' (did you mean bcl?); method= takes balanced"),
        (experiment("override /tracker: [wandb, wand]"), "unknown tracker 'wand' (did you mean wandb?)"),
        (experiment("override /metod: ce"), "metod is no group (did you mean method?); groups are backbone, budget"),
        (experiment("override /quirks: none"), "quirks is no group"),
        (experiment("/method: ce"), "write - override /method: ce"),
        (experiment("override method: ce"), "write - override /method: ce"),
        (experiment("override /dataset: [a, b]"), "a run has one dataset; write one choice"),
        (experiment("override /experiment: bcl_cifar"), "an experiment builds on another with - bcl_cifar"),
        (experiment("bcl_cifr"), "there is no experiment=bcl_cifr (did you mean bcl_cifar?)"),
        (experiment("3"), "write - NAME for another file of this folder, or - override /GROUP: CHOICE"),
        (experiment("{a: 1, b: 2}"), "write - NAME for another file of this folder, or - override /GROUP: CHOICE"),
        (experiment("mine"), "it builds on itself by way of its defaults; take experiment/mine out of them"),
        (experiment("override /method: ce", head="# mine"), "begin it with the line # @package _global_"),
        ("# mine\nseed: 3\n", "its keys would stand below experiment; begin it with the line # @package _global_"),
        ("# @package tain\nlr: 3\n", "its keys would stand below tain; begin it with the line # @package _global_"),
    ],
)
def test_a_wrong_head_of_a_file_is_refused_in_one_line_with_what_to_write(text, said, here):
    write(here, "experiment/mine.yaml", text)
    line = refusal("experiment=mine")
    assert line.startswith(f"{FOLDER}/experiment/mine.yaml: ") and said in line and "\n" not in line
    assert "search path" not in line and "Could not" not in line  # as Hydra says it


def test_keys_of_a_method_without_a_package_line_are_not_taken_for_parameters(here):
    write(here, "method/mine.yaml", METHOD.partition("\n")[2])
    assert "would stand below method; begin it with the line # @package _global_" in refusal("method=mine")


def test_an_experiment_chooses_an_optimizer_as_it_is_told_to(here):
    write(here, "experiment/mine.yaml", "# @package _global_\ntrain: {optimizer: {name: adam}}\n")
    of_file, typed = (plan([word, "method=ce"])[0] for word in ("experiment=mine", "train.optimizer.name=adam"))
    assert of_file.config.train.optimizer["_target_"] == "torch.optim.Adam"
    assert of_file.identity == typed.identity


@pytest.mark.parametrize("head", ["", "# @package tracker.wandb\n", "# @package _global_\n", "# @package nonsense\n"])
def test_a_tracker_of_ones_own_stands_under_its_own_name_whatever_its_package_line(head, here):
    write(here, "tracker/mine.yaml", f"{head}_target_: lt_bench.trackers.wandb.WandB\nmode: online\n")
    found = compose(["tracker=[wandb,mine]", "tracker.mine.project=tails"]).tracker
    assert {name: dict(values) for name, values in found.items()} == {
        "wandb": {"_target_": "lt_bench.trackers.wandb.WandB"},
        "mine": {"_target_": "lt_bench.trackers.wandb.WandB", "mode": "online", "project": "tails"},
    }


def test_the_heads_of_the_packages_own_files_are_right():
    names = [path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml")]
    check_heads([name for name in names if "/" in name], default_choices())


@pytest.mark.parametrize("place", ["{}/run", "{}/run/deeper"])
@pytest.mark.parametrize("sign", ["record.json", "status.json", "submission.json"])
def test_no_choice_comes_from_inside_the_folder_of_a_run(place, sign, tmp_path, monkeypatch, capsys):
    folder = Path(place.format(tmp_path))
    write(folder / FOLDER, "method/mine.yaml")
    write(tmp_path / "run", sign, "{}")
    monkeypatch.chdir(folder)
    assert "unknown method 'mine'" in refusal("method=mine")
    assert main(["--dry-run", f"--config-dir={FOLDER}", "method=mine"]) == 2
    assert "it is in the folder of a run" in capsys.readouterr().err


def test_a_folder_may_be_typed_for_every_command_that_takes_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "it's here", "method/mine.yaml")
    expected = None
    for words in (["--dry-run"], ["-m", "--dry-run"], ["launch", "plan"]):
        assert main([*words, "method=mine", "stage_two=none", "--config-dir", "it's here"]) == 0
        said = capsys.readouterr().out
        found = next(word for word in said.split() if len(word) == 12 and word.isalnum())
        assert expected in (None, found)
        expected = found
    assert main(["--dry-run", "method=mine", "-cd", "it's here"]) == 0
    assert main(["data", "browse", "method=mine", "--config-dir=it's here", "dataset=nothing"]) == 2
    assert "unknown dataset" in capsys.readouterr().err
    assert main(["--dry-run", "method=mine"]) == 2  # nothing is left of it
    assert main(["--help", "method=mine", "-cd", "it's here"]) == 0
    assert "it's here/method/mine.yaml" in capsys.readouterr().out


def test_two_folders_with_one_name_are_refused(here, tmp_path):
    write(here, "method/mine.yaml")
    write(tmp_path / "other", "method/mine.yaml")
    with own_files(str(tmp_path / "other")), pytest.raises(UsageError, match="has the same name; rename one"):
        compose(["method=mine"])


def test_a_run_of_ones_own_choices_has_the_same_identity_from_python(here):
    write(here, "method/mine.yaml")
    (run,) = plan(["method=mine", "stage_two=none"])
    assert run_id(run.config) == run.identity


# Modules of one's own in the current folder, which Python finds after ``python -m`` alone.

MODULE = "from lt_bench.methods.ce import CE\n\nimport beside\n\n\nclass Mine(CE):\n    here = beside.HERE\n"


def test_both_commands_find_modules_in_the_current_folder_alike(tmp_path):
    write(tmp_path, "mine.py", MODULE)
    write(tmp_path, "beside.py", "HERE = 1\n")
    words = ["--dry-run", "method=ce", "method._target_=mine.Mine", "stage_two=none"]
    said = [
        subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)
        for command in ([SCRIPT], [sys.executable, "-m", "lt_bench"])
    ]
    assert said[0].returncode == 0 and said[0].stdout == said[1].stdout, said


def test_the_installed_command_imports_nothing_that_is_not_named(tmp_path):
    """Neither in the place of an installed module, nor of one that a library would like to have."""
    for name in ("yaml", "torch", "hydra_plugins", "tensorrt", "sitecustomize", "usercustomize", "evil"):
        write(tmp_path, f"{name}.py", EVIL)
    code = (
        "import sys; sys.path = [place for place in sys.path if place]; from lt_bench.__main__ import main; "
        "status = main(['method=ce', 'budget=smoke', 'stage_two=none', 'device=cpu', 'progress=false']); "
        "from lt_bench.config.trust import is_trusted; sys.exit(status or is_trusted('method', 'evil.Mine', []))"
    )
    script = write(tmp_path / "bin", "lt-bench", code)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not (tmp_path / "ran.txt").exists(), done.stderr


@pytest.mark.slow
def test_the_installed_command_trains_a_class_in_the_current_folder(tmp_path):
    write(tmp_path, "mine.py", MODULE)
    write(tmp_path, "beside.py", "HERE = 1\n")
    words = ["method=ce", "method._target_=mine.Mine", "budget=smoke", "stage_two=none", "device=cpu", "progress=false"]
    done = subprocess.run([SCRIPT, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "Mine on digits_lt" in done.stdout, done.stderr
