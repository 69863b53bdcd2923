"""A file of conf/ that was edited and cannot be read is named, with the line and what to do."""

import shutil
from pathlib import Path

import pytest

from lt_bench.config import conf
from lt_bench.errors import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    copy = Path(shutil.copytree(Path(__file__).parents[2] / "conf", tmp_path / "conf"))
    monkeypatch.setattr(conf, "files", lambda package: copy)
    return copy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: [1, 2\n", "line 3: "),
        (b"a: 1\n@b: 1\n", "line 2: found character '@'"),
        (b"a: 1\na: 2\n", "line 2: "),
        (b"name: caf\xe9\n", "cannot be read as text in UTF-8"),
        (b".inf\n", "no YAML"),
        (b"- a\n", "no keys with values"),
        (b"defaults: ce\n", "its defaults are no list"),
        (b"[" * 3000, "no YAML"),
        (b"a: {b: [1, -1" + b"0" * 400 + b"]}\n", "a whole number in it is larger than 1.8e+308"),
    ],
)
def test_what_is_no_yaml_of_keys_and_values_is_refused_by_name(content, said, folder):
    (folder / "method" / "ce.yaml").write_bytes(content)
    for read in (lambda: conf.values_of("method/ce"), conf.check_all):
        with pytest.raises(UsageError) as caught:
            read()
        text = str(caught.value)
        assert text.startswith("conf/method/ce.yaml") and said in text and conf.ADVICE in text and "\n" not in text


def test_what_is_there_is_sound():
    conf.check_all()
    assert (
        conf.values_of("method/ce")["method"]["name"] == "ce" and conf.is_file("config") and not conf.is_file("no/no")
    )
