import pytest
from helpers.samples import metrics, runs, sample
from scipy import stats

from lt_bench.record.record import RunRecord
from lt_bench.report.frame import frame
from lt_bench.report.paired import baseline_label, paired_table
from lt_bench.report.sections import sections
from lt_bench.report.tables import Table

BCL = {"setting_id": "bcl", "method_name": "BCL"}


def compare(records: list[RunRecord]) -> Table:
    (part,) = sections(frame(records))
    table = paired_table(part, "SBCL / CB")
    assert table is not None
    return table


def test_seeds_on_one_split_by_hand() -> None:
    base = runs([(0.50, 0.10), (0.52, 0.20), (0.51, 0.30)])
    ours = runs([(0.51, 0.20), (0.54, 0.20), (0.54, 0.60), (0.90, 0.90)], **BCL)  # seed 3 has no partner
    table = compare(base + ours)
    row = table.values.iloc[0]
    assert (row["label"], row["baseline"], row["pairs"], row["n"]) == ("BCL / CB", "SBCL / CB", 3, 3)
    assert row["all_difference"] == pytest.approx(2.0) and row["all_std"] == pytest.approx(1.0)
    half = 4.302652729911275 / 3**0.5  # t of 97.5 % with 2 degrees of freedom
    assert (row["all_low"], row["all_high"]) == pytest.approx((2.0 - half, 2.0 + half), rel=1e-9)
    low, high = stats.ttest_1samp([10.0, 0.0, 30.0], 0).confidence_interval(0.95)
    assert (row["few_low"], row["few_high"]) == pytest.approx((low, high), rel=1e-9)
    assert table.cells.iloc[0].tolist()[1:] == ["+13.3 ± 15.3", "[-24.6, +51.3]", "+2.0 ± 1.0", "[-0.5, +4.5]", "3"]
    assert "independent" not in table.caption[0]


def test_a_split_counts_once_when_splits_and_seeds_vary() -> None:
    base = runs([(0.50, 0.1)] * 6, splits=3)
    ours = runs([(0.51, 0.1), (0.52, 0.1), (0.53, 0.1), (0.53, 0.1), (0.54, 0.1), (0.55, 0.1)], splits=3, **BCL)
    table = compare(base + ours)
    row = table.values.iloc[0]
    assert (row["pairs"], row["n"]) == (6, 3)
    assert row["all_difference"] == pytest.approx(3.0) and row["all_std"] == pytest.approx(1.0)  # of 2, 3, 4
    assert table.cells["pairs"][0] == "6 (3 splits)" and "a split counts once" in table.caption[0]


def test_one_seed_a_split_needs_no_merging() -> None:
    base, ours = runs([(0.5, 0.1), (0.5, 0.2)], splits=2), runs([(0.6, 0.1), (0.7, 0.2)], splits=2, **BCL)
    table = compare(base + ours)
    assert table.cells["pairs"][0] == "2" and "counts once" not in table.caption[0]


def test_one_pair_has_no_interval_and_no_pair_no_difference() -> None:
    cells = compare(
        [sample(), sample(**BCL, metrics=metrics(top1=0.55)), sample(setting_id="p", method_name="PaCo", seed=9)]
    )
    assert cells.cells.iloc[0].tolist()[1:] == ["+0.0 ± –", "–", "+5.0 ± –", "–", "1"]
    assert cells.cells.iloc[1].tolist()[1:] == ["–", "–", "–", "–", "0"]


def test_few_is_compared_only_under_one_group_rule_and_where_it_exists() -> None:
    other_rule = compare([sample(), sample(**BCL, group_rule="count_100_20", metrics=metrics(top1=0.6))])
    empty = compare([sample(), sample(**BCL, metrics=metrics(0.6, (0.7, 0.5, None)))])
    for table in (other_rule, empty):
        assert table.cells["few"][0] == "–" and table.cells["all"][0] == "+10.0 ± –"


def test_a_method_alone_means_no_stage_two() -> None:
    assert baseline_label("CE") == "CE / –" and baseline_label("CE / CB") == "CE / CB"


def test_no_table_without_the_baseline_or_without_other_rows() -> None:
    (part,) = sections(frame([sample()]))
    assert paired_table(part, "CE / –") is None and paired_table(part, "SBCL / CB") is None
