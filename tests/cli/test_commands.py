"""One command: the first word names another one, each says how it was called, and an unknown one gets the nearest."""

import sys
from importlib import import_module
from inspect import signature

import pytest
from helpers.command_line import call, without_torch

from lt_bench.cli.commands import COMMANDS, is_command, main
from lt_bench.cli.help import help_text
from lt_bench.command import as_called

CALLED = {
    "/usr/bin/lt-bench": "lt-bench report",
    "/home/me/lt_bench/lt_bench/__main__.py": "python -m lt_bench report",
    "/home/me/lt_bench/lt_bench/report/__main__.py": "python -m lt_bench.report",
}


def status_of(words):
    try:
        return main(words)
    except SystemExit as left:  # by argparse
        return left.code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_a_main_and_help(name, capsys):
    assert [*signature(import_module(COMMANDS[name].module).main).parameters.values()]
    assert status_of([name, "--help"]) == 0
    assert "exit status" in capsys.readouterr().out.lower()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_in_the_help(name):
    line = next(line for line in help_text().splitlines() if line.startswith(f"  {name} "))
    assert line.endswith(COMMANDS[name].about)


@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_usage_and_examples_name_the_command_as_it_was_called(name, called, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    if name == "new" and "." in CALLED[called]:
        pytest.skip("it is no module that can be called alone")
    assert status_of([name, "--help"]) == 0
    said, own = capsys.readouterr().out, CALLED[called].replace("report", name)
    assert said.startswith(f"usage: {own} ")
    others = {form.replace("report", name) for form in CALLED.values()} - {own}
    assert not any(f"{other} " in said for other in others)


@pytest.mark.parametrize("called", CALLED)
def test_errors_name_commands_as_they_were_called(called, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    assert main(["launch"]) == 2
    assert capsys.readouterr().err.endswith(f"see {CALLED[called].replace('report', 'launch')} --help\n")


def test_only_names_of_commands_are_changed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lt-bench"])
    text = "python -m lt_bench.launch.job, python -m lt_bench, python -m lt_bench.data. Then python -m lt_bench."
    assert as_called(text) == "python -m lt_bench.launch.job, lt-bench, lt-bench data. Then lt-bench."


@pytest.mark.parametrize(
    ("word", "command"),
    [("report", True), ("reprot", True), ("seed=1", False), ("-m", False), ("--cfg", False), ("~method.x", False)],
)
def test_a_first_word_is_a_command_unless_it_is_a_setting_or_an_option(word, command):
    assert is_command(word) == command


@pytest.mark.parametrize(("word", "near"), [("reprot", "report"), ("lanch", "launch"), ("figure", "figures")])
def test_an_unknown_command_gets_the_nearest_and_all_others(word, near, capsys):
    assert main([word, "--runs", "x"]) == 2
    said = capsys.readouterr().err
    assert f"did you mean {near}?" in said and all(name in said for name in COMMANDS)


def test_run_is_what_settings_alone_are(capsys):
    assert main(["run", "--dry-run", "method=ce"]) == 0
    first = capsys.readouterr().out
    assert main(["--dry-run", "method=ce"]) == 0
    assert capsys.readouterr().out == first


def test_a_command_is_called_by_the_package_without_torch(tmp_path):
    done = call("report", "--runs", str(tmp_path / "none"), env=without_torch(tmp_path), cwd=tmp_path)
    assert done.returncode == 1 and "make one with `python -m lt_bench`" in done.stderr and not done.stdout
