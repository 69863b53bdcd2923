"""The space of a search: the words of a sweep, and what is refused."""

import pytest

from lt_bench.errors import UsageError
from lt_bench.launch.search.space import Choice, Numbers, space


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("log(0.001,0.3)", Numbers(0.001, 0.3, log=True)),
        ("tag(log,interval(0.001,0.3))", Numbers(0.001, 0.3, log=True)),
        ("interval(0,1)", Numbers(0.0, 1.0)),
        ("int(interval(1,10))", Numbers(1, 10)),
        ("int(log(1,100))", Numbers(1, 100, log=True)),
        ("range(1,10)", Numbers(1, 9, step=1)),
        ("range(16,129,16)", Numbers(16, 128, step=16)),
        ("range(0.1,0.5,0.2)", Choice(("0.1", "0.30000000000000004"))),
        ("0.1,0.3", Choice(("0.1", "0.3"))),
        ("choice(0.1,0.3)", Choice(("0.1", "0.3"))),
    ],
)
def test_words_of_a_sweep_are_axes(text, axis):
    assert space({"train.lr": text}) == {"train.lr": axis}


def test_choices_may_be_files_and_keep_their_quotes():
    assert space({"method": "ce,bcl"}) == {"method": Choice(("ce", "bcl"))}
    assert space({"method.views": "[plain],'[crop_flip]'"})["method.views"].values == ("[plain]", "'[crop_flip]'")


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("train.lr", "0.1", "type train.lr=0.1 instead"),
        ("train.lr", "lag(0.1,1)", "cannot read 'search.space.train.lr=lag(0.1,1)'"),
        ("train.lr", "log(0,1)", "needs bounds above 0; write interval(0,1)"),
        ("train.lr", "interval(1,0.5)", "the first bound is below the second"),
        ("train.lr", "interval(1,inf)", "both are finite"),
        ("train.lr", "range(1,1)", "range(1,1)"),
        ("train.lr", "glob(*)", "give a,b,c, range(1,10)"),
        ("train.lr", "shuffle(1,2,3)", "are the same each time it is typed"),
        ("train.batch_size", "shuffle(range(1,9))", "are the same each time it is typed"),
        ("dataset.group_rule", "thirds,count_100_20", "the same for all trials"),
        ("seed", "1,2", "seed is the same for all trials"),
        ("evaluation.select", "last,best_test", "the same for all trials"),
        ("dataset.validation_fraction", "0.1,0.2", "the same for all trials"),
        ("imbalance.factor", "10,100", "the same for all trials"),
        ("output_dir", "a,b", "the same for all trials"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(key, text, said):
    with pytest.raises(UsageError) as refused:
        space({key: text})
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_an_empty_space_is_refused():
    with pytest.raises(UsageError, match="a search needs a space"):
        space({})


def test_numbers_are_typed_with_four_digits_inside_their_bounds():
    axis = Numbers(0.00012345, 0.98765, log=True)
    assert [axis.typed(value) for value in (0.00012345, 0.123456789, 0.98765)] == ["0.00012345", "0.1235", "0.98765"]
    assert axis.ends == ("0.00012345", "0.98765")
    assert Numbers(1, 10).typed(3) == "3"
