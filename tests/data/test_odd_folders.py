"""What ``data check`` passes trains on the images it counted, under the classes it named; the rest is refused.

The data sets are made by ``helpers.odd_folders``, each with odd things in it.
"""

import json
import re

import pytest
from helpers import odd_folders
from helpers.chain import execute, tiny

from lt_bench.command import printable
from lt_bench.data.__main__ import main
from lt_bench.errors import DataError, UsageError

COUNT, FAST = 200, range(0, 56, 4)
RUN = ("backbone=tiny", "method=ce", "stage_two=none", "recipe=none", "dataset.workers=0", "dataset.image_size=16")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))


def trained(words, tmp_path):
    """Images of every class by part, and the names of the classes, of a run; None where the data are refused."""
    try:
        record, folder = execute(tiny(tmp_path / "runs", *words, *RUN, "train.batch_size=64"))
    except (DataError, UsageError):
        return None
    classes = json.loads((folder / "split.json").read_bytes())["classes"]
    return {part: record.metrics[f"{part}_counts"] for part in ("train", "test")}, classes


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=() if number in FAST else pytest.mark.slow) for number in range(COUNT)]
)
def test_check_and_training_agree(number, tmp_path, capsys):
    odd = odd_folders.build(tmp_path / "data", number)
    words = [*odd.words, f'dataset.root="{tmp_path / "data"}"', "progress=false", "dataset.validation_fraction=0"]
    status, said = main(["check", *words, "dataset.workers=0"]), capsys.readouterr().out
    found = trained(words, tmp_path)
    assert (status == 0, found is not None) == (odd.expected is not None,) * 2, (odd.things, said)
    if odd.expected is None:
        return
    counts, classes = found
    assert counts == {part: [found[name] for name in odd.classes] for part, found in odd.expected.items()}, odd.things
    if "dataset.train_list=train.txt" not in words:
        assert classes == odd.classes
    for part, found in odd.expected.items():
        total = re.search(rf"^{part}: (\d+) images in {len(classes)} classes", said, re.MULTILINE)[1]
        assert int(total) == found.total()
    named = re.search(r"^classes by [a-z]+: (.*)$", said, re.MULTILINE)[1]
    assert named == ", ".join(map(printable, classes))


def test_every_odd_thing_is_in_some_data_set():
    found = {thing for number in range(COUNT) for thing in odd_folders.things_of(number)[1]}
    assert found == odd_folders.THINGS.keys()
