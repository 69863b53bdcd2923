"""Lengths that do not fit together are refused before training; where epochs are cut short they are said instead."""

import pytest
from helpers.configs import refusal, settled

from lt_bench.preflight.epochs import not_reached, remarks


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["method=ce", "train.epochs=100", "budget.rescale=false"],
            "train.schedule.milestones=[240, 270] is not reached: stage one has 100 epochs, counted from 0; set "
            "train.schedule.milestones=[80,90], or leave out budget.rescale=false",
        ),
        (
            ["method=ldam_drw", "method.drw_start_epoch=300"],
            "method.drw_start_epoch=300 is not reached: stage one has 300 epochs, counted from 0; set "
            "method.drw_start_epoch=240",
        ),
        (  # a default of a class, which no file states
            ["method=ce", "method._target_=lt_bench.methods.ldam_drw.LDAMDRW", "train.epochs=100"],
            "method.drw_start_epoch=160 is not reached",
        ),
        (["method=sbcl", "method.warm_epochs=150"], "method.warm_epochs=150 is not reached"),
        (["method=simclr_gh", "method.harmonization.warm_epochs=150"], "method.harmonization.warm_epochs=150 is not"),
        (["method=simclr_gh", "train.schedule.switch_epoch=150"], "train.schedule.switch_epoch=150 is not reached"),
        (["method=ce", "train.schedule.warm_epochs=300"], "train.schedule.warm_epochs=300 is not reached"),
        (
            ["stage_two=ldam_drw", "stage_two.drw_start_epoch=200"],
            "stage_two.drw_start_epoch=200 is not reached: stage two has 200 epochs, counted from 0; set "
            "stage_two.drw_start_epoch=160",
        ),
        (
            ["method=ce", "train.epochs=1"],
            "train.schedule.warm_epochs=1 is not reached: stage one has 1 epoch, counted from 0; set train.epochs=2 or "
            "more, or budget.max_steps_per_epoch=2 to see only that everything runs",
        ),
        (
            ["method=supcon", "train.schedule.epochs=100"],
            "train.schedule.epochs=100 is less than the 150 epochs that it is for: the rate would rise again; set "
            "train.schedule.epochs=150",
        ),
        (["method=sbcl_moco", "method.restart=false"], "train.schedule.epochs=75 is less than the 150 epochs"),
        (["method=sbcl_moco", "train.schedule.epochs=70"], "train.schedule.epochs=70 is less than the 75 epochs"),
        (
            ["method=simclr", "train.epochs=1", "train.schedule.warm_epochs=0"],
            "train.epochs=1: the only epoch has the rate 1e-06, the last of its schedule; set train.epochs=2 or more",
        ),
        (
            ["stage_two.train={epochs:1,schedule:{warm_epochs:0}}"],
            "stage_two.train.epochs=1: the only epoch has the rate 0, the last of its schedule; set stage_two.train.ep",
        ),
        (
            ["method=boosted_cl", "train={epochs:1,schedule:{warm_epochs:0,per:step}}"],
            "train.epochs=1: BoostedCL takes 2 or more; set train.epochs=2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_type(words, said):
    assert any(line.startswith(said) for line in refusal(*words).splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ["method=ce", "train.schedule.milestones=[299]"],
        ["method=ce", "train.epochs=1", "train.schedule={warm_epochs:0,milestones:[]}"],
        ["method=sbcl", "method.warm_epochs=0"],
        ["method=supcon", "train.schedule.epochs=151"],
        ["method=simclr", "train={epochs:1,schedule:{warm_epochs:0,per:step}}"],
        ["method=sbcl", "method.update_interval=999"],
        ["stage_two=ncm", "train.epochs=7"],
    ],
)
def test_what_fits_is_not_refused(words):
    settled(*words)


def test_advice_that_is_followed_helps():
    words = ["method=ldam_drw", "train.epochs=9", "budget.rescale=false"]
    advice = [line.partition("; set ")[2].split(", or")[0] for line in refusal(*words).splitlines()]
    assert settled(*words, *advice).method["drw_start_epoch"] == 7


def test_where_epochs_are_cut_short_it_is_said_instead():
    config = settled("method=ce", "budget=smoke")
    assert not_reached(config) == remarks(config) == [
        "train.schedule.warm_epochs=1 is not reached: stage one has 1 epoch, counted from 0",
        "train.schedule.milestones=[1, 1] is not reached: stage one has 1 epoch, counted from 0",
    ]  # fmt: skip
    assert remarks(settled("method=ce")) == []


def test_what_typed_epochs_do_is_said():
    (one, two) = remarks(settled("method=ldam_drw", "stage_two=cb", "train.epochs=60", "stage_two.train.epochs=20"))
    assert one == (
        "train.epochs=60 of the recipe's 300: with it move train.schedule.milestones=[48,54] "
        "train.schedule.warm_epochs=1 method.drw_start_epoch=48"
    )
    assert two == "stage_two.train.epochs=20 of the recipe's 45: with it move stage_two.train.schedule.warm_epochs=2"
    (line,) = remarks(settled("method=ce", "train.epochs=280", "budget.rescale=false"))
    assert line == "train.epochs=280 of the recipe's 300: nothing moves with it"


OWN = """
from typing import ClassVar
from lt_bench.methods.ce import CE

class Late(CE):
    begins_at: ClassVar[tuple[str, ...]] = ("turn",)
    least_epochs: ClassVar[int] = 3

    def __init__(self, encoder, info, *, turn: int = 5, **others):
        super().__init__(encoder, info, **others)
"""


def test_a_class_of_ones_own_says_what_begins_in_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_late_method.py").write_text(OWN)
    words = ["method=ce", "method._target_=a_late_method.Late", "trust=[a_late_method]"]
    assert "method.turn=5 is not reached" in refusal(*words, "train.epochs=5")
    assert "method.turn=300 is not reached" in refusal(*words, "method.turn=300")
    assert "train.epochs=2: Late takes 3 or more; set train.epochs=3" in refusal(*words, "train.epochs=2")
    settled(*words, "train.epochs=6")
