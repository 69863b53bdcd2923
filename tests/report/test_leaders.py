"""What stands out in a table: the best, and what paired runs do not tell from it."""

import numpy as np
import pytest
from helpers.samples import metrics, runs, sample
from scipy import stats

from lt_bench.report.frame import frame
from lt_bench.report.leaders import leaders
from lt_bench.report.sections import sections

BASE = [0.50, 0.52, 0.55, 0.51]


def leading(*rows, **shared):
    """For each setting, in its order, whether it leads in top-1; rows are values, one a seed, or records."""
    records = []
    for place, row in enumerate(rows):
        named = {"setting_id": f"s{place}", "method_name": f"M{place}", "method": f"m{place}", **shared}
        records += row if isinstance(row[0], tuple) is False and hasattr(row[0], "run_id") else runs(row, **named)
    (section,) = sections(frame(records))
    found = dict(zip([row.key for row in section.rows], leaders(section, ["top1"]), strict=True))
    return [found[f"M{place} / CB"] == {"top1"} for place in range(len(rows))]


@pytest.mark.parametrize("gap", [0.001, 0.005, 0.01, 0.02, 0.05])
def test_a_row_leads_with_the_best_where_a_paired_t_test_does_not_tell_them_apart(gap):
    random = np.random.RandomState(3)
    other = [value - gap + noise for value, noise in zip(BASE, random.uniform(-0.01, 0.01, 4), strict=True)]
    best = [(value, 0.1) for value in BASE]
    told = stats.ttest_rel(BASE, other).pvalue < 0.05
    assert np.mean(other) < np.mean(BASE)
    assert leading(best, [(value, 0.1) for value in other]) == [True, not told]


def test_both_verdicts_are_in_the_test_above():
    random = np.random.RandomState(3).uniform(-0.01, 0.01, 4)
    found = {stats.ttest_rel(BASE, BASE - np.array(gap) + random).pvalue < 0.05 for gap in (0.001, 0.05)}
    assert found == {True, False}


def test_one_pair_and_no_pair_tell_nothing_so_that_the_best_stands_alone():
    assert leading([(0.5, 0.1)], [(0.49, 0.1)]) == [True, False]
    elsewhere = [
        sample(setting_id="s1", method_name="M1", method="m1", seed=seed, metrics=metrics(0.4)) for seed in (7, 8, 9)
    ]
    assert leading([(value, 0.1) for value in BASE], elsewhere) == [True, False]


def test_equal_rows_lead_together_and_one_row_alone_does_not():
    assert leading([(0.5, 0.1)], [(0.5, 0.1)], [(0.3, 0.1)]) == [True, True, False]
    assert leading([(0.5, 0.1)]) == [False]


def test_nothing_leads_under_budget_smoke():
    assert leading([(0.5, 0.1)], [(0.4, 0.1)], budget="smoke") == [False, False]


def test_a_checkpoint_chosen_on_the_test_set_never_leads():
    chosen = [sample(setting_id="s2", method_name="M2", method="m2", selection="best_test", metrics=metrics(0.9))]
    assert leading([(0.5, 0.1)], [(0.4, 0.1)], chosen) == [True, False, False]


def test_lower_is_better_where_the_metric_says_so_and_unknown_values_never_lead():
    rows = [("A", 0.3), ("B", 0.1), ("C", 0.2)]
    records = [
        sample(setting_id=name, method_name=name, method=name, metrics=metrics() | {"ece": ece}) for name, ece in rows
    ]
    (section,) = sections(frame(records))
    assert leaders(section, ["ece", "top5"]) == [set(), {"ece"}, set()]


def test_groups_that_were_chosen_by_several_rules_are_not_compared():
    rows = [("A", 0.3, "thirds"), ("B", 0.1, "count_100_20")]
    records = [
        sample(setting_id=name, method_name=name, method=name, group_rule=rule, metrics=metrics(0.5, (0.7, 0.5, few)))
        for name, few, rule in rows
    ]
    (section,) = sections(frame(records))
    assert leaders(section, ["few", "top1"]) == [{"top1"}, {"top1"}]
