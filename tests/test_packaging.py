"""A built wheel, installed elsewhere, runs from any folder with conf/ and launch/ inside it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from lt_bench import __version__

ROOT = Path(__file__).parents[1]
PARTS = ("lt_bench", "conf", "launch", "results/published", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

RECIPES = {  # of containers: where the base stands, and what is copied there
    "Dockerfile": (r"^ARG BASE=(\S+)$", r"^COPY (.+) \S+$"),
    "lt_bench.def": (r"^From: (\S+)$", r"^    (\S+) /opt/\S+$"),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an installation made from a wheel."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (source / part).parent.mkdir(exist_ok=True)
        copy(ROOT / part, source / part)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site", wheel


@pytest.mark.slow
def test_the_wheel_holds_every_config_and_every_module(installed):
    _, wheel = installed
    names = set(zipfile.ZipFile(wheel).namelist())
    parts = [("conf", "lt_bench/conf", "*.yaml"), ("launch", "lt_bench/launch", "*.py")]
    parts += [("results/published", "lt_bench/published/results", "*.yaml")]
    for folder, inside, pattern in parts:
        for path in (ROOT / folder).rglob(pattern):
            assert f"{inside}/{path.relative_to(ROOT / folder)}" in names
    for path in (ROOT / "lt_bench").rglob("*.py"):
        assert str(path.relative_to(ROOT)) in names
    assert {"lt_bench/py.typed", "lt_bench/data/sources/openclipart.txt"} <= names
    assert {f"lt_bench/report/page/page.{kind}" for kind in ("html", "css", "js")} <= names


@pytest.mark.slow
def test_the_installed_copy_runs_from_any_folder(installed, tmp_path):
    site, _ = installed
    environment = {**os.environ, "PYTHONPATH": str(site)}
    modules = ("lt_bench.launch.planning.plan", "lt_bench.conf", "lt_bench.published.results")
    where = f"import {', '.join(modules)}; print({', '.join(f'{name}.__file__' for name in modules)}); "
    where += "from lt_bench.published.reproduces import reproduced; assert reproduced('recipe')"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.count(str(site)) == 3 and found.returncode == 0, found.stderr
    words = ["-m", "lt_bench", "budget=smoke", "method=ce", "progress=false"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2


def test_the_containers_are_of_one_base_and_hold_what_an_installation_needs():
    texts = {name: (ROOT / "containers" / name).read_text(encoding="utf-8") for name in RECIPES}
    bases = {re.findall(base, texts[name], re.MULTILINE)[0] for name, (base, _) in RECIPES.items()}
    installs = {re.findall(r"pip install .+$", text, re.MULTILINE)[0] for text in texts.values()}
    assert len(bases) == len(installs) == 1
    for name, (_, copied) in RECIPES.items():
        assert sorted(" ".join(re.findall(copied, texts[name], re.MULTILINE)).split()) == sorted(PARTS), name


def test_the_files_that_name_the_version_agree():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__ and {"cff-version", "title", "authors", "message"} <= cited.keys()
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


GIT = ["git", "-c", "user.name=test", "-c", "user.email=test"]
RELEASED = (".ci/release", "lt_bench/__init__.py", "CITATION.cff", "CHANGELOG.md")
REFUSED = [  # what is changed, by which words, whether it is committed, and what a release says of it
    ("CHANGELOG.md", "Changes", "Other changes", False, "the checkout has changes"),
    ("CITATION.cff", "version: ", "version: 9.", True, f"write version: {__version__}"),
    ("CHANGELOG.md", f"## {__version__}", "## Unreleased", True, f"no section ## {__version__}"),
]


@pytest.mark.parametrize(("file", "words", "others", "committed", "said"), REFUSED)
def test_a_release_that_is_not_ready_is_refused(tmp_path, file, words, others, committed, said):
    for name in RELEASED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    edited = re.sub(f"(?m)^(# )?{words}", rf"\g<1>{others}", (tmp_path / file).read_text(encoding="utf-8"))

    def commit():
        for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
            subprocess.run([*GIT, *command], cwd=tmp_path, check=True)

    if not committed:
        commit()
    (tmp_path / file).write_text(edited, encoding="utf-8")
    if committed:
        commit()
    done = subprocess.run(["bash", ".ci/release"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr, done.stdout + done.stderr
    assert not (tmp_path / "dist").exists()


def test_a_release_runs_every_command_of_the_readme_that_is_ours():
    script = (ROOT / ".ci" / "release").read_text(encoding="utf-8")
    (taken,) = re.findall(r"^grep -E .*(?= \|$)", script, re.MULTILINE)
    found = subprocess.run(
        ["bash", "-c", taken], env={**os.environ, "readme": str(ROOT / "README.md")}, capture_output=True, text=True
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ours = {line.strip() for line in re.findall(r"(?m)^    .*?(python -m lt_bench\b[^#\n]*)", readme)}
    assert sorted(found.stdout.splitlines()) == sorted(ours) and len(ours) > 5
