"""``lt-bench new method NAME``: what it writes passes its checks and trains, and nothing is overwritten."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lt_bench.__main__ import main
from lt_bench.launch.planning.plan import plan

ROOT = Path(__file__).parents[2]
NAMES = ["fresh_idea.py", "lt_bench_conf/method/fresh_idea.yaml", "test_fresh_idea.py"]


@pytest.fixture
def made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "method", "fresh_idea"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == NAMES and "python -m lt_bench method=fresh_idea --dry-run" in said[-2]
    return tmp_path


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_is_a_choice_with_a_title_of_its_own(made):
    (run,) = plan(["method=fresh_idea"])
    assert run.config.method["title"] == "Fresh Idea" and run.config.trust == ["fresh_idea"]
    assert run.identity != plan(["method=fresh_idea", "method.smoothing=0.2"])[0].identity


def test_nothing_is_overwritten_and_then_nothing_is_written(made, capsys):
    (made / NAMES[0]).write_text("mine")
    (made / NAMES[1]).unlink()
    assert main(["new", "method", "fresh_idea"]) == 2
    assert "fresh_idea.py, test_fresh_idea.py: there already; nothing was written" in capsys.readouterr().err
    assert files_in(made) == [NAMES[0], NAMES[2]] and (made / NAMES[0]).read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method", "ce"], "there is a method=ce already"),
        (["method", "json"], "there is a module json already"),
        (["method", "numpy"], "there is a module numpy already"),
        (["method", "../x"], "'../x' can be no module"),
        (["method", "My"], "can be no module"),
        (["method", "lambda"], "can be no module"),
        (["method", "_x"], "begin it with a letter"),
        *((["method", name], f"{name} means something else") for name in ("null", "nan", "inf", "true", "on", "none")),
        (["method", "f"], "would have a class F, a name that its files have already; take another name, such as my_f"),
        *((["method", name], "its files have already") for name in ("method", "tensor", "setting_error", "path")),
        (["methods", "x"], "invalid choice: 'methods'"),
        ([], "see python -m lt_bench new --help"),
    ],
)
def test_names_that_cannot_be_are_refused(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err and files_in(tmp_path) == []


def test_a_word_of_its_texts_is_a_name_like_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "method", "smoothed"]) == 0


@pytest.mark.parametrize("length", ["88", "120"])
def test_it_passes_ruff_at_both_usual_lengths(made, length):
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", length]
    for words in (["check", "--select", "E,F,I,B,UP"], ["format", "--check"]):
        done = subprocess.run([*ruff, *words, *options, "."], cwd=made, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_it_passes_mypy_and_its_own_tests(made):
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}
    strict = ["--config-file", os.devnull, "--disallow-untyped-defs", "--ignore-missing-imports"]
    for words in (["mypy", *strict, NAMES[0], NAMES[2]], ["pytest", "-q", "-p", "no:cacheprovider", NAMES[2]]):
        done = subprocess.run([sys.executable, "-m", *words], cwd=made, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
