"""Every command of README.md, CONTRIBUTING.md and docs/ is one: its flags are read, its settings composed or planned.

Those of a tutorial are carried out, cut short; those of docs/own-images.md by test_own_images.py.
"""

import argparse
import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lt_bench.cli.commands import COMMANDS as commands_of_package
from lt_bench.cli.commands import main
from lt_bench.config.compose import compose
from lt_bench.launch.planning.plan import expand
from lt_bench.launch.search.planned import is_search, plan_search
from lt_bench.preflight.validate import validate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("python", "lt-bench", "pip", "torchrun", "bash", "mkdocs", "docker", "apptainer")
LINE = re.compile(rf"^    (?:\$ )?((?:{'|'.join(PROGRAMS)}) .*)$", re.MULTILINE)
OURS = re.compile(r"^(?:lt-bench|(?:python|torchrun .*?) -m lt_bench)(?:\.(\w+))?(?= |$)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
STAND_FOR = ("=DIR", "=FILE", "=PACKED")  # words of which a reader writes the value

OTHERS = set(commands_of_package) - {"run"}
CUT_SHORT = ("budget=smoke", "device=cpu", "progress=false")


def commands(text):
    """The commands of a page, one a line, as lists of words; lines that go on are joined, comments left out."""
    for line in LINE.findall(FENCE.sub("", text).replace("\\\n", "")):
        words = shlex.split(line, comments=True)
        ends = [-1, *(place for place, word in enumerate(words) if word == "&&"), len(words)]
        yield from (words[start + 1 : end] for start, end in zip(ends[:-1], ends[1:], strict=True))


TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
COMMANDS = {page: found for page, text in TEXTS.items() if (found := [*commands(text)])}


class Read(BaseException):
    """The flags of a command, read without a mistake."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a method and a tracker of one's own, as the pages have them."""
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, "-m", "lt_bench", "new", "method", "my_method"], cwd=folder, check=True)
    (example,) = re.findall(r"```python\n(.*?)```", TEXTS["docs/trackers.md"], re.DOTALL)
    (folder / "my_file.py").write_text(example, encoding="utf-8")
    return folder


def flags_of(words, monkeypatch):
    """What a command of ours reads from its words, before it does anything."""

    def reading(read):
        def stop(parser, *given):
            raise Read(read(parser, *given))

        return stop

    with monkeypatch.context() as patched:
        for name in ("parse_args", "parse_intermixed_args"):
            patched.setattr(argparse.ArgumentParser, name, reading(getattr(argparse.ArgumentParser, name)))
        with pytest.raises(Read) as read:
            main(words)
    return read.value.args[0]


def status_of(words):
    try:
        return main(words)
    except SystemExit as left:  # how argparse ends after its help
        return left.code


def check_ours(words, monkeypatch):
    if "--help" in words:
        assert status_of(words) == 0
        return
    flags = vars(flags_of(words, monkeypatch))
    overrides = [word for word in flags.get("overrides") or () if not word.endswith(STAND_FOR)]
    if is_search(overrides):
        assert plan_search(overrides)
    elif "dataset=image_folder" not in overrides:  # whose classes are known by its images
        for one in with_every_word(expand(overrides)) if overrides else ():
            config = compose(one)
            if not any(word.startswith("tracker") for word in one):  # whose package need not be installed
                validate(config)


def with_every_word(runs):
    """Of the runs of a sweep those that have a word which no earlier one has."""
    seen = set()
    for words in runs:
        if not seen.issuperset(words):
            seen.update(words)
            yield words


def check_other(words):
    """A command of another program: the files, modules and extras that it names are there."""
    if words[:2] == ["pip", "install"]:
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = {extra for word in words for listed in re.findall(r"\[(.+)\]", word) for extra in listed.split(",")}
        assert extras <= set(setup["options.extras_require"]), words
    elif words[:2] == ["python", "-m"]:
        path = ROOT / words[2].replace(".", "/")
        assert words[2] in ("pytest", "build", "twine") or (path / "__main__.py").is_file(), words
    elif words[:2] != ["python", "-c"]:
        named = [word for word in words[1:] if re.fullmatch(r"[\w.][\w./-]*/[\w./-]+", word)]
        assert all((ROOT / word).exists() for word in named), words


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDS)
def test_every_command_of_a_page_names_what_is_there(page, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for words in COMMANDS[page]:
        line = shlex.join(words)
        if found := OURS.match(line):
            check_ours([*filter(None, [found[1]]), *shlex.split(line[found.end() :])], monkeypatch)
        else:
            check_other(words)


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", ["first-table", "add-a-method"])
def test_the_commands_of_a_tutorial_do_what_they_say(tutorial, tmp_path, monkeypatch, capfd):
    """One after the other, runs cut short: the later ones need what the earlier ones have written."""
    monkeypatch.chdir(tmp_path)
    for words in COMMANDS[f"docs/tutorials/{tutorial}.md"]:
        if found := OURS.match(line := shlex.join(words)):
            typed = [*filter(None, [found[1]]), *shlex.split(line[found.end() :])]
            trains = typed[0] not in OTHERS and "--help" not in typed
            assert status_of([*typed, *CUT_SHORT] if trains else typed) == 0, (line, capfd.readouterr().err)
    assert (tmp_path / "runs" / "tables").is_dir()


def test_a_command_that_is_none_is_found(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for words in (["report", "--no-such-flag"], ["figures", "--kind", "none"]):
        with pytest.raises(SystemExit):
            check_ours(words, monkeypatch)
    with pytest.raises(ValueError, match="did you mean sbcl"):
        check_ours(["method=sbcll"], monkeypatch)
    with pytest.raises(AssertionError):
        check_other(["pip", "install", "-e", ".[no_such_extra]"])


def test_the_messages_of_troubleshooting_are_ours():
    sources = "".join(
        path.read_text(encoding="utf-8") for room in ("lt_bench", "launch") for path in (ROOT / room).rglob("*.py")
    )
    messages = re.findall(r"^\| `([^`]+)` \|", TEXTS["docs/troubleshooting.md"], re.MULTILINE)
    parts = [part.strip() for message in messages for part in message.split("…") if part.strip(" :")]
    assert len(messages) > 10 and [part for part in parts if part not in sources] == []
