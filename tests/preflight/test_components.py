"""A method's name says which component it has, and a component has an epoch in which it works."""

import pytest

from lt_bench.config.compose import compose
from lt_bench.errors import UsageError
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import run_id

CMO = "lt_bench.methods.mixing.CMO"


def method_of(*words):
    return validate(compose(words)).method


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("method=ce", f"method.mixing._target_={CMO}"), "method.name=ce stands for method=ce, which has no"),
        (("method=ce", "mixing=cmo", "method.name=ce"), "method.name=ce stands for method=ce, which has no"),
        (("method=ce", "mixing=cmo", "method.title=CE"), "method.title=CE stands for method=ce, which has no"),
        (("method=gcl", f"method.mixing._target_={CMO}"), "method.name=gcl stands for method=gcl, which has no"),
        (("method=ce", "mixing=cmo", "method.mixing=null"), "method=ce_cmo needs method.mixing; set mixing=none"),
        (
            ("method=ce", "mixing=cmo", "method.mixing._target_=lt_bench.methods.mixing.MixUp", "method.name=mine"),
            "method.title=CE + CMO stands for mixing=cmo",
        ),
        (("method=gcl", "mixing=mixup"), "mixing=mixup: method=gcl has that by itself"),
    ],
)
def test_a_name_that_hides_or_claims_a_component_is_refused(words, said):
    with pytest.raises(UsageError, match="^" + said.replace("+", r"\+")):
        method_of(*words)


def test_a_component_may_have_a_name_of_ones_own():
    words = ("method=ce", f"method.mixing._target_={CMO}", "method.name=mine", "method.title=Mine")
    assert method_of(*words)["mixing"]["_target_"] == CMO


def test_none_takes_away_what_a_method_has_by_itself():
    assert method_of("method=gcl")["mixing"] and method_of("method=gcl", "mixing=none")["mixing"] is None
    assert "mixing" not in method_of("method=ce", "mixing=none")
    same = [run_id(validate(compose(["method=ce", *words]))) for words in ((), ("mixing=none",))]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("train.epochs=2", "set train.epochs=3 or more"),
        ("method.mixing.last_plain_epochs=500", "set method.mixing.last_plain_epochs=295"),
        ("method.mixing.last_plain_epochs=296", "set method.mixing.last_plain_epochs=295"),
    ],
)
def test_a_mixing_without_an_epoch_is_refused_with_what_has_one(word, advice):
    words = ("method=ce", "mixing=cmo", "dataset=digits_lt")
    with pytest.raises(UsageError, match="no epoch is left") as caught:
        method_of(*words, word)
    assert advice in str(caught.value)
    method_of(*words, advice.split()[1])
