"""The command line as a user types it: exit statuses, no torch before it is needed, what is said."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.command_line import MODULE, call, without_torch

from lt_bench import __version__
from lt_bench.__main__ import main
from lt_bench.config.compose import groups

SMOKE = ("budget=smoke", "progress=false", "method=ce", "stage_two=none")


@pytest.fixture(scope="module")
def torch_free(tmp_path_factory):
    return without_torch(tmp_path_factory.mktemp("stub"))


FRONT_END = [
    (["--help"], 0, "python -m lt_bench"),
    (["--version"], 0, __version__),
    (["--cfg", "job"], 0, "epoch_scale"),
    (["--cfg", "job", "--resolve"], 0, "epoch_scale"),
    (["--dry-run"], 0, "to do"),
    (["-m", "--dry-run", "seed=1,2"], 0, "seed=2"),
    (["dataset=foo"], 2, "dataset= takes"),
    (["method=ce", "fidelity=official"], 2, "set fidelity=clean"),
    (["--no-such-flag"], 2, "--help"),
    (["-m", "seed=1,x"], 2, "seed= takes a whole number"),
]
IN_TURN = """
import contextlib, io, json, sys
from lt_bench.__main__ import main
answers = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            status = main(words)
        except SystemExit as left:
            status = left.code
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(torch_free, tmp_path_factory):
    """Status, output and errors of every case, from one process, and where it was called from."""
    place = tmp_path_factory.mktemp("empty")
    command = [sys.executable, "-c", IN_TURN, json.dumps([words for words, _, _ in FRONT_END])]
    done = subprocess.run(command, env=torch_free, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), place


@pytest.mark.parametrize("case", range(len(FRONT_END)), ids=[" ".join(words) for words, _, _ in FRONT_END])
def test_the_front_end_answers_without_torch(case, answers):
    (found, place), (_, status, said) = answers, FRONT_END[case]
    left, out, err = found[case]
    assert left == status, err
    assert said in (err if status else out)
    assert "Traceback" not in err and not list(place.iterdir())


def test_what_typed_epochs_move_is_said_before_a_run(capsys):
    words = ["method=ce", "train.epochs=60"]
    said = "train.epochs=60 of the recipe's 300: with it move train.schedule.milestones=[48,54] train.schedule.warm_ep"
    assert main(["--dry-run", *words]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(said)
    assert main(["--cfg", "job", "--resolve", *words]) == 0
    shown = capsys.readouterr()
    assert said in shown.err and yaml.safe_load(shown.out)["train"]["recipe_epochs"] == 300
    assert main(["-m", "--dry-run", "method=ce", "train.epochs=60,120"]) == 0
    assert len([line for line in capsys.readouterr().err.splitlines() if "of the recipe's 300" in line]) == 2
    assert main(["--cfg", "job", "--resolve", "method=ce", "budget=smoke"]) == 0
    assert "train.schedule.milestones=[1, 1] is not reached" in capsys.readouterr().err


def test_the_stub_would_notice_torch(torch_free):
    done = call("budget=smoke", env=torch_free)
    assert done.returncode == 1 and "torch was imported" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed"], "cannot read 'seed': write key=value"),
        (["seed=1,2"], "add -m for a sweep"),
        (["experiment=digits_demo"], "this experiment is a sweep of several runs; add -m"),
        (["--cfg", "hydra"], "invalid choice: 'hydra'"),
        (["--cfg"], "expected one argument"),
        (["--config-dir=x"], "choices are the files in the folders of conf/"),
        (["--config-dir=~nobody-of-this-name"], "there is no such folder"),
        ([f"--config-dir={'x' * 300}"], "there is no such folder"),
        (["--config-name", "x"], "choices are the files in the folders of conf/"),
        (["--mult", "seed=1"], "unrecognized arguments: --mult"),
        (["-sc", "install=tcsh"], "--shell-completion install=bash"),
        (["--shell-completion"], "--shell-completion install=bash"),
        (["-sc", "query=bash"], "--shell-completion install=bash"),
        (["--cfg", "job", "seed=x"], "seed= takes a whole number"),
        (["--cfg", "job", "--resolve", "train.lr=${x}"], "train.lr: Interpolation key 'x' not found"),
        (["-m", "--dry-run", "method=ce,sbcl", "stage_two=none"], "in the run method=sbcl stage_two=none"),
    ],
)
def test_wrong_usage_is_status_2_and_every_line_is_ours(words, said, capsys, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert main(words) == 2
    output = capsys.readouterr()
    assert said in output.err and output.out == ""
    assert all(line.startswith("lt_bench: ") for line in output.err.splitlines())


def test_cfg_shows_the_config_and_with_resolve_what_a_run_uses(capsys):
    words = ["method=ce", "recipe=none", "method.views=[simclr]", "--cfg", "job"]
    assert main(words) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["train"]["epochs"] == "${epochs:200}" and shown["method"]["views"] == ["simclr"]
    assert "hydra" not in shown
    assert main([*words, "--resolve", "seed=7"]) == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert (resolved["train"]["epochs"], resolved["seed"]) == (200, 7)
    assert "${" not in yaml.safe_dump(resolved)


def test_the_shown_config_says_what_a_problem_is_only_when_resolved(capsys):
    assert main(["--cfg", "job", "seed=???"]) == 0
    assert "seed: ???" in capsys.readouterr().out
    assert main(["--cfg", "job", "seed=???", "--resolve"]) == 2


def test_a_dry_run_names_the_run_its_stage_one_and_the_folder(capsys, tmp_path):
    assert main(["--dry-run", f"output_dir={tmp_path}", "dataset=cifar100_lt"]) == 0
    said = capsys.readouterr().out
    assert said == f"run 3bbe7bcfee7e (to do) on stage one 7ce54c2772f0 (to do) in {tmp_path}\n"


def test_flags_may_stand_anywhere(capsys):
    assert main(["method=ce", "--dry-run", "seed=1"]) == 0
    first = capsys.readouterr().out
    assert main(["--dry-run", "method=ce", "seed=1"]) == 0
    assert capsys.readouterr().out == first


def test_an_empty_class_is_a_usage_error(tmp_path, capsys):
    assert main([*SMOKE, f"output_dir={tmp_path}", "imbalance.factor=1e9"]) == 2
    said = capsys.readouterr().err
    assert "would have no image" in said and "set imbalance.factor below 120" in said


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for words in (SMOKE, ("-m", *SMOKE)):
        assert main([*words, f"output_dir={tmp_path / 'file' / 'runs'}"]) == 2
        assert "choose another folder with output_dir=DIR" in capsys.readouterr().err


def test_an_interruption_before_the_run_starts(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lt_bench.config.compose.compose", interrupt)
    assert main(["seed=1"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_traceback():
    process = subprocess.Popen([*MODULE, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_a_finished_run_is_shown_again_without_torch(tmp_path, torch_free, capsys):
    words = [*SMOKE, f"output_dir={tmp_path}"]
    assert main(words) == 0
    threads, _, first = capsys.readouterr().out.partition("\n")
    assert threads.startswith("stage one: threads 1 (") and first.startswith("CE on digits_lt, imbalance 20, seed 0")
    again = call(*words, env=torch_free)
    assert (again.returncode, again.stdout) == (0, f"done before: {first}")
    assert "run" in call(*words, "--dry-run", env=torch_free).stdout.split("(done)")[0]


# Tab completion of the installed command.

SCRIPT = Path(sys.executable).with_name("lt-bench")


@pytest.fixture
def completions(monkeypatch, capsys):
    """What the command offers for a line up to its end."""

    def of(line):
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        monkeypatch.setattr(sys, "argv", list(sys.argv))  # which the command writes
        assert main(["-sc", "query=bash"]) == 0
        return capsys.readouterr().out.split()

    return of


def test_the_installed_command_is_the_module():
    done = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, __version__)
    assert subprocess.run([SCRIPT, "sed=1"], capture_output=True).returncode == 2


AS_IN_A_SHELL = pytest.mark.filterwarnings(r"ignore:\s+'.* is validated against ConfigStore")  # which passes them over


@AS_IN_A_SHELL
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lt-bench recipe=focal_gh_c", {"recipe=focal_gh_cifar10_lt", "recipe=focal_gh_cifar100_lt"}),
        ("lt-bench dat", {"data", "data_dir=", "dataset.", "dataset="}),
        ("lt-bench run dat", {"data_dir=", "dataset.", "dataset="}),
        ("lt-bench launch plan method=ce stage_two=ldam", {"stage_two=ldam_drw"}),
        ("lt-bench report --o", set()),
        ("lt-bench ne", {"new"}),
        ("lt-bench dataset=", {f"dataset={choice}" for choice in groups()["dataset"]}),
        ("lt-bench method=ce stage_two=ldam", {"stage_two=ldam_drw"}),
        ("lt-bench -m method=sup", {"method=supcon"}),
        ("lt-bench train.opt", {"train.optimizer."}),
        ("/somewhere/bin/lt-bench budget=s", {"budget=short", "budget=smoke"}),
    ],
)
def test_completion_of_groups_choices_and_keys(line, expected, completions):
    assert set(completions(line)) == expected


@AS_IN_A_SHELL
def test_completion_of_the_parameters_of_the_method_that_is_typed(completions):
    assert "method.beta=" in completions("lt-bench method=sbcl method.")
    assert "method.beta=" not in completions("lt-bench method=ce method.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_command_however_it_is_called(shell):
    for command in (MODULE, [SCRIPT]):
        done = subprocess.run([*command, "-sc", f"install={shell}"], capture_output=True, text=True)
        assert done.returncode == 0 and re.search(r"\bcomplete .*\blt-bench\b", done.stdout)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_a_word():
    text = (
        f'export PATH="{SCRIPT.parent}:$PATH"; eval "$(lt-bench --shell-completion install=bash)"; '
        "complete -p lt-bench; COMP_LINE='lt-bench dataset=cifar'; COMP_POINT=${#COMP_LINE}; COMP_CWORD=1; "
        "hydra_bash_completion; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["dataset=cifar100_lt", "dataset=cifar10_lt"], done.stderr
    assert "hydra_bash_completion lt-bench" in done.stdout
