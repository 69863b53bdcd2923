"""The help text names every choice, and every example in it works."""

import re
import shlex
import sys

import pytest

from lt_bench.__main__ import main
from lt_bench.cli.help import HEAD, HIDDEN, TAIL, help_text
from lt_bench.config.compose import groups
from lt_bench.launch.planning.plan import expand, plan

EXAMPLES = re.findall(r"python -m lt_bench((?: +(?:-m|[\w.]+=\S+))*)(?=  |\n)", HEAD)


def test_every_group_and_choice_is_named_with_what_it_is():
    text = help_text()
    for group, choices in groups().items():
        if group not in HIDDEN:
            assert f"\n{group}=" in text
            for choice in choices:
                assert re.search(rf"^  {choice} +\S", text, re.MULTILINE), choice


def test_defaults_are_named():
    text = help_text()
    for line in ("dataset=   default digits_lt", "method=   default sbcl", "backbone=   as the data set suggests"):
        assert f"\n{line}\n" in text
    assert "stage_two=   as the method suggests" in text and "budget=   default paper" in text


def test_exit_statuses_are_named():
    assert "Exit status: 0 done, 1 failed, 2 wrong usage or config, 130 interrupted" in help_text()


@pytest.mark.parametrize("called", ["lt-bench", "/any/lt_bench/__main__.py"])
def test_commands_are_named_once_as_they_were_called(called, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    assert main(["--help"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Commands ("))
    assert line.count("COMMAND;") == 1 and line.count("lt-bench") == (called == "lt-bench")


def test_the_flag_of_another_code_is_answered_with_the_tracker(capsys):
    assert main(["--wandb"]) == 2
    assert "tracker=wandb" in capsys.readouterr().err


def test_the_text_fits_a_wide_terminal():
    assert max(map(len, help_text().splitlines())) <= 120


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_examples_work(words):
    runs = expand([word for word in shlex.split(words) if word != "-m"])
    assert plan(runs[0]) and plan(runs[-1])


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("word", re.findall(r"(?<=  )[a-z_]+(?:\.[a-z_]+)*=[\w.]+", TAIL))
def test_the_single_values_exist(word):
    if "my_module" not in word and "install" not in word:
        extra = ["dataset.validation_fraction=0.2"] if word == "evaluation.split=validation" else []
        assert plan([word, *extra])
