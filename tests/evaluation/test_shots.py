from pathlib import Path

import numpy as np
import pytest

from lt_bench.data.splits.imbalance import class_counts
from lt_bench.evaluation.shots import RULES, shot_groups

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "gh_groups.npz")
NAMES = ["many", "medium", "few"]


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_thirds_of_the_harmonization_code(case: str) -> None:
    groups = shot_groups(GOLDEN[f"{case}_class_counts"], "thirds")
    accuracy = GOLDEN[f"{case}_class_accuracy"]
    assert [len(groups[name]) for name in NAMES] == GOLDEN[f"{case}_sizes"].tolist()
    expected = [GOLDEN[f"{case}_{name}_third"] for name in ("major", "moderate", "minor")]
    np.testing.assert_allclose([accuracy[groups[name]].mean() for name in NAMES], expected, rtol=1e-10)


def test_counts_of_the_harmonization_code() -> None:
    groups = shot_groups(GOLDEN["c2_class_counts"], "count_100_20")
    accuracy = GOLDEN["c2_class_accuracy"]
    assert [len(groups[name]) for name in NAMES] == GOLDEN["c2_many_medium_few_sizes"].tolist()
    np.testing.assert_allclose(
        [accuracy[groups[name]].mean() for name in NAMES], GOLDEN["c2_many_medium_few"], rtol=1e-10
    )


def test_both_borders_of_100_and_20_are_medium() -> None:
    groups = shot_groups(np.array([19, 100, 101, 20, 99]), "count_100_20")
    assert {name: ids.tolist() for name, ids in groups.items()} == {"many": [2], "medium": [1, 3, 4], "few": [0]}


@pytest.mark.parametrize("factor", [10, 50, 100])
def test_groups_at_factor_100_are_those_of_cifar_100_lt_there(factor: int) -> None:
    order = np.random.default_rng(factor).permutation(100)
    here, there = (np.array(class_counts(500, 100, one, "exponential"))[order] for one in (factor, 100))
    for name, ids in shot_groups(here, "count_100_20_at_100").items():
        assert ids.tolist() == shot_groups(there, "count_100_20")[name].tolist()
    assert [len(ids) for ids in shot_groups(here, "count_100_20_at_100").values()] == [35, 35, 30]


def test_thirds_give_the_remainder_to_many_and_break_ties_by_class_id() -> None:
    groups = shot_groups(np.array([5, 9, 5, 5, 5]), "thirds")
    assert {name: ids.tolist() for name, ids in groups.items()} == {"many": [0, 1, 2], "medium": [3], "few": [4]}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 100])
def test_every_class_is_in_one_group(rule: str, classes: int) -> None:
    counts = np.random.default_rng(classes).integers(1, 300, classes)
    ids = np.concatenate(list(shot_groups(counts, rule).values()))
    assert sorted(ids.tolist()) == list(range(classes))


def test_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'halves'.*count_100_20, count_100_20_at_100, thirds"):
        shot_groups(np.array([1, 2]), "halves")
