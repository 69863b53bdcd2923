"""The user's own code is part of what a run is known by: its sources, and what they import beside them."""

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from lt_bench.config.compose import compose
from lt_bench.config.signatures import module_file
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identities, identity_values, setting_id
from lt_bench.record.own_code import all_sources, described, present_versions, sources

RAN = "raise RuntimeError('this file was run')\n"
METHOD = (
    RAN
    + "import outside\nfrom beside import SCALE\nclass Mine:\n    def __init__(self, encoder, info, x: int = 1): ...\n"
)
RULE = RAN + "from lt_bench.stage_two.cb import ClassBalanced\nclass Rule(ClassBalanced): ...\n"
WORDS = ("method=ce", "stage_two=cb", "trust=[known_method,known_rule,package]")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of own code on the import path, and another one that it imports from."""
    own, other = tmp_path / "own", tmp_path / "other"
    files = {
        own / "known_method.py": METHOD,
        own / "beside.py": RAN + "def late():\n    import beside_too\nSCALE = 1\n",
        own / "beside_too.py": RAN,
        own / "not_imported.py": RAN,
        own / "known_rule.py": RULE,
        own / "package" / "__init__.py": RAN + "from package import top\n",
        own / "package" / "top.py": RAN,
        own / "package" / "below" / "__init__.py": RAN,
        own / "package" / "below" / "method.py": RAN + "from ..top import x\nfrom . import near\nclass Mine: ...\n",
        own / "package" / "below" / "near.py": RAN,
        other / "outside.py": RAN,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for place in (other, own):
        monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()
    return own


def config(*words):
    return validate(compose([*WORDS, *words]))


MINE, RULES = "method._target_=known_method.Mine", "stage_two._target_=known_rule.Rule"


def test_sources_are_those_of_a_module_and_of_what_it_imports_beside_it(folder):
    assert sources("known_method.Mine").keys() == {"known_method", "beside", "beside_too"}
    below = {"package", "package.top", "package.below", "package.below.method", "package.below.near"}
    assert sources("package.below.method.Mine").keys() == below
    assert sources("known_rule.Rule").keys() == {"known_rule"}  # the package is known by its version


@pytest.mark.parametrize(("listed", "taken"), [("['one']", {"one"}), ("[*found()]", {"one", "two"}), (None, set())])
def test_a_star_takes_the_modules_that_a_package_lists(listed, taken, folder):
    (folder / "stars").mkdir()
    (folder / "stars" / "__init__.py").write_text(RAN + ("" if listed is None else f"__all__ = {listed}\n"))
    for name in ("one", "two"):
        (folder / "stars" / f"{name}.py").write_text(RAN)
    (folder / "known_rule.py").write_text("from stars import *\nclass Rule: ...\n")
    importlib.invalidate_caches()
    assert sources("known_rule.Rule").keys() == {"known_rule", "stars", *(f"stars.{name}" for name in taken)}


def test_of_files_of_one_name_it_is_the_one_that_python_takes(folder):
    (folder / "package" / "near").mkdir()
    for path, number in ((folder / "package" / "near.py", 1), (folder / "package" / "near" / "__init__.py", 2)):
        path.write_text(f"X = {number}\n")
    (folder / "known_rule.py").write_text("import compiled\nimport package.near\nclass Rule: ...\n")
    importlib.invalidate_caches()
    assert module_file("package.near") == folder / "package" / "near" / "__init__.py"
    compiled = folder / f"compiled{EXTENSION_SUFFIXES[0]}"
    versions = set()
    for content in (b"one", b"two!"):
        compiled.write_bytes(content)
        importlib.invalidate_caches()
        versions.add(sources("known_rule.Rule")["compiled"])
    assert len(versions) == 2


def test_of_an_installed_module_only_its_own_package_counts():
    assert {name.partition(".")[0] for name in sources("yaml.SafeLoader")} == {"yaml"}
    assert {name.partition(".")[0] for name in sources("shutil.rmtree")} == {"shutil"}


@pytest.mark.parametrize("name", ["known_method", "beside", "beside_too"])
def test_every_edit_is_another_run_and_another_setting(name, folder):
    before = config(MINE)
    ids = (*identities(before), setting_id(before))
    path = folder / f"{name}.py"
    path.write_text(path.read_text().replace("x: int = 1", "x: int = 2") + "# edited\n")
    after = config(MINE)
    assert not {*ids} & {*identities(after), setting_id(after)}
    assert name not in sys.modules


def test_what_is_not_imported_changes_nothing(folder):
    before = identities(config(MINE, RULES))
    (folder / "not_imported.py").write_text("x = 1")
    (folder / "known_method.txt").write_text("x = 1")
    assert identities(config(MINE, RULES)) == before


def test_a_rule_of_ones_own_leaves_stage_one_as_it_is(folder):
    before = identities(config(RULES))
    assert before[1] == identities(config())[1]
    (folder / "known_rule.py").write_text(RULE + "# edited\n")
    after = identities(config(RULES))
    assert after[0] != before[0] and after[1] == before[1]


def test_runs_without_own_code_have_no_version_of_it():
    assert not [key for key in identity_values(config()) if key.startswith("own_code")]
    assert present_versions(config()) == all_sources(config()) == {} and described(config()) == ""
    assert identities(config("train.optimizer._target_=torch.optim.Rprop")) != identities(config())


def test_a_version_that_is_typed_stands_for_that_of_the_files(folder):
    now = present_versions(config(MINE, RULES))
    assert now.keys() == {"stage_one", "stage_two"}
    typed = [f"own_code.{stage}={version}" for stage, version in now.items()]
    assert identities(config(MINE, RULES, *typed)) == identities(config(MINE, RULES))
    (folder / "known_method.py").write_text(METHOD + "# edited\n")
    known = identity_values(config(MINE, RULES, *typed))
    assert {f"own_code.{stage}": version for stage, version in now.items()}.items() <= known.items()


def test_whoever_starts_a_run_is_told_the_files(folder):
    assert (
        described(config(MINE, RULES))
        == f"known_method ({folder / 'known_method.py'}), known_rule ({folder / 'known_rule.py'})"
    )
