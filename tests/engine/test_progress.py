"""The bar of a stage, and that of other passes over images."""

import re

from lt_bench.engine import progress
from lt_bench.engine.progress import Progress, told


def test_the_bar_has_the_epoch_counted_from_one(capsys):
    with Progress("stage one", 3, 6, 4, True) as bar:
        bar.epoch(2)
        bar.advance()
        bar.show({"loss": 0.5}, 0.1)
    assert re.search(r"stage one, epoch 3/3: +83%.* 5/6 .*loss=0.5, lr=0.1", capsys.readouterr().err)
    with Progress("stage one", 3, 6, 4, False) as bar:
        bar.epoch(2)
        bar.advance()
    assert capsys.readouterr().err == ""


def test_a_short_pass_has_no_bar_and_a_long_one_has(capsys, monkeypatch):
    assert [*told(range(3), "features", True)] == [0, 1, 2] and capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SILENT_S", 0.0)
    assert [*told(range(3), "features", True)] == [0, 1, 2] and "features: " in capsys.readouterr().err
    assert [*told(range(3), "features", False)] == [0, 1, 2] and capsys.readouterr().err == ""
