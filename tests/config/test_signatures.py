"""Signatures read from source agree with what Python says, and nothing is imported for them."""

import dataclasses
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from hydra.utils import get_object

from lt_bench.config.signatures import (
    OPAQUE,
    REQUIRED,
    SUPPLIED,
    TargetError,
    class_attribute,
    docstrings,
    parameters,
    takes_more,
)

MINE = "a_module_of_a_user"
CONF = Path(__file__).parents[2] / "conf"


def targets():
    """Every class or function of ours that a file in conf/ names; composing them would slow each collection down."""
    found = {"lt_bench.engine.schedules.Cosine", "lt_bench.models.resnet_cifar.resnet34_cifar"}
    for path in CONF.rglob("*.yaml"):
        found |= set(re.findall(r"\b_target_: (lt_bench[\w.]+)", path.read_text()))
    return sorted(found)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write modules of a user onto the import path; importing one of them is an error."""
    monkeypatch.syspath_prepend(tmp_path)

    def write_module(text, name=MINE):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise RuntimeError('imported')\n{text}")
        importlib.invalidate_caches()

    yield write_module
    parameters.cache_clear()
    takes_more.cache_clear()
    sys.modules["lt_bench.config.signatures"]._find.cache_clear()


def found(target=f"{MINE}.Mine"):
    return {name: parameter.default for name, parameter in parameters(target).items()}


def python_parameters(target):
    """All keywords that a class or function takes, those that it passes on to its ancestors included.

    A keyword that a constructor gives to its ancestors beside those would be given twice.
    """
    taken, found, given = get_object(target), {}, set()
    # a class without a constructor of its own takes what the next one takes
    owners = [one for one in taken.__mro__ if "__init__" in vars(one)] if isinstance(taken, type) else [taken]
    for owner in owners:
        words = dict(inspect.signature(owner).parameters)
        passed_on = [name for name, word in words.items() if word.kind is inspect.Parameter.VAR_KEYWORD]
        unnamed = [name for name, word in words.items() if word.kind is inspect.Parameter.VAR_POSITIONAL]
        new = words.keys() - {*passed_on, *unnamed, *(given - found.keys())}
        found = {name: word for name, word in words.items() if name in new} | found
        if not passed_on:
            break
        source = inspect.getsource(owner.__init__) if isinstance(taken, type) else ""
        given |= set(re.findall(r"(\w+)=", "".join(re.findall(r"super\(\).__init__\((.*)\)", source))))
    return found


@pytest.mark.parametrize("target", targets())
def test_as_python_sees_it(target):
    expected = python_parameters(target)
    read = parameters(target)
    assert set(read) == set(expected) - SUPPLIED
    for name, parameter in read.items():
        default = expected[name].default
        if default is inspect.Parameter.empty:
            assert parameter.default is REQUIRED
        elif parameter.default is not OPAQUE:
            assert parameter.default == (list(default) if isinstance(default, tuple) else default)


def test_constructor_with_all_kinds_of_parameters(write):
    write(
        "class Mine:\n    def __init__(self, encoder, info, a, b=1, /, c=(1, 2), *, d, e: float = 2, f=-0.5, g=X): ..."
    )
    assert found() == {"a": REQUIRED, "b": 1, "c": [1, 2], "d": REQUIRED, "e": 2.0, "f": -0.5, "g": OPAQUE}
    assert type(found()["e"]) is float


def test_the_constructor_of_an_ancestor(write):
    write("class Base:\n    def __init__(self, a=1): ...\nclass Middle(Base): ...\nclass Mine(Middle):\n    b = 2")
    assert found() == {"a": 1}


def test_docstrings_of_a_class_and_its_ancestors(write):
    write('class Base:\n    "The base."\nclass Middle(Base): ...\nclass Mine(Middle):\n    """Mine.\n\n    More."""')
    assert docstrings(f"{MINE}.Mine") == ["Mine.\n\nMore.", "The base."]
    docstrings.cache_clear()


def test_further_keywords_go_to_the_next_ancestor_with_a_constructor(write):
    write(
        "class Base:\n    def __init__(self, encoder, *, a=1, b=2): ...\n"
        "class Mine(Base):\n    def __init__(self, encoder, *, b=3, c=4, **others): ...\n"
    )
    assert found() == {"a": 1, "b": 3, "c": 4}


def test_keywords_that_a_constructor_gives_to_its_ancestors_are_none_of_its_own(write):
    write(
        "class Base:\n    def __init__(self, *, a=1, b=2, c=3): ...\n"
        "class Middle(Base):\n    def __init__(self, **others):\n        super().__init__(b=4, **others)\n"
        "class Mine(Middle):\n    def __init__(self, *, c=5, **others):\n        super().__init__(c=c, **others)\n"
    )
    assert found() == {"a": 1, "c": 5}


def test_ancestors_are_found_however_they_are_imported(write):
    write("class Base:\n    def __init__(self, a=1): ...", "package_of_a_user.base")
    write("from .base import Base as Other\nfrom . import base\n", "package_of_a_user.__init__")
    for text in (
        "from .base import Base\nclass Mine(Base): ...",
        "from . import base\nclass Mine(base.Base): ...",
        "from package_of_a_user.base import Base as B\nclass Mine(B[int]): ...",
        "import package_of_a_user.base\nclass Mine(package_of_a_user.base.Base): ...",
        "import package_of_a_user.base as base\nclass Mine(base.Base): ...",
        "from package_of_a_user import Other\nclass Mine(Other): ...",
        "from .base import Base as Mine",
    ):
        write(text, "package_of_a_user.mine")
        parameters.cache_clear()
        sys.modules["lt_bench.config.signatures"]._find.cache_clear()
        assert found("package_of_a_user.mine.Mine") == {"a": 1}, text


def test_dataclasses_with_their_ancestors(write):
    write(
        "from dataclasses import dataclass, field\n"
        "@dataclass\nclass Base:\n    a: int\n    kind: ClassVar[str] = 'x'\n    b: float = 1\n"
        "@dataclass(frozen=True)\nclass Mine(Base):\n    b: float = 2\n    c: list[int] = field(default_factory=list)\n"
        "    d: str = MISSING\n"
    )
    assert found() == {"a": REQUIRED, "b": 2.0, "c": OPAQUE, "d": REQUIRED}


def test_a_function_and_a_class_without_parameters(write):
    write("def Mine(a, *, b=None): ...\nclass Empty: ...")
    assert found() == {"a": REQUIRED, "b": None}
    assert found(f"{MINE}.Empty") == {}


def test_an_alias_stands_for_its_value(write):
    write("Law = Literal['x', 'y']\nclass Mine:\n    def __init__(self, law: Law = 'x'): ...")
    annotation = parameters(f"{MINE}.Mine")["law"].annotation
    assert annotation is not None and annotation.value.id == "Literal"


def test_an_alias_of_another_module_stands_for_its_value_too():
    for name, words in {"classifier": "linear", "bessel": "asymptotic", "kappa_estimator": "code"}.items():
        annotation = parameters("lt_bench.methods.proco.ProCo")[name].annotation
        assert annotation is not None and annotation.value.id == "Literal"
        assert words in [word.value for word in annotation.slice.elts]


def test_constants(write):
    write("class Base:\n    a = True\n    b: int = 3\n    c: str\n    d = 1 / 3\nclass Mine(Base):\n    b = 4")
    assert [class_attribute(f"{MINE}.Mine", name, "default") for name in "abcde"] == [
        True,
        4,
        "default",
        OPAQUE,
        "default",
    ]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module.Mine", "no module 'no_such_module'"),
        ("lt_bench.no_such_module.Mine", "no module 'lt_bench.no_such_module'"),
        ("lt_bench.methods.sbcl.Mine", "has no class or function 'Mine'"),
        ("Mine", "write module.Class"),
        ("", "write module.Class"),
        ("sys.path", "no module 'sys'"),
    ],
)
def test_what_is_not_there(target, said):
    with pytest.raises(TargetError, match=said):
        parameters(target)


def test_a_file_that_cannot_be_read_as_python(write):
    write("class Mine(:")
    with pytest.raises(TargetError, match="cannot read"):
        parameters(f"{MINE}.Mine")


def test_the_schema_is_read_like_any_dataclass():
    from lt_bench.config.schema import Training

    names = [item.name for item in dataclasses.fields(Training)]
    assert list(parameters("lt_bench.config.schema.Training")) == names
    assert parameters("lt_bench.config.schema.Training")["epochs"].default is REQUIRED


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("def Mine(a=1, **others): ...", True),
        ("def Mine(a=1): ...", False),
        ("class Mine:\n    def __init__(self, a=1, **others): ...", True),
        ("from torch import nn\nclass Mine(nn.Module):\n    def __init__(self, a=1, **others): ...", True),
        ("from torch import nn\nclass Mine(nn.Module):\n    a = 1", False),
        ("from lt_bench.contracts import Method\nclass Mine(Method):\n    def __init__(self, **others): ...", False),
        (
            "class Base:\n    def __init__(self, a=1): ...\nclass Mine(Base):\n    def __init__(self, **others): ...",
            False,
        ),
    ],
)
def test_further_keywords_that_go_to_no_ancestor_may_be_anything(write, text, more):
    write(text)
    assert takes_more(f"{MINE}.Mine") == more
