"""The column of what a small test set leaves open, against the formula worked out by hand."""

import pytest
from helpers.samples import metrics, runs, sample

from lt_bench.report import test_error as of_test
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.report.tables import accuracy_table

RULE = "count_100_20"  # one class of many, one of medium, two of few


def measured(train, test, groups=(0.8, 0.5, 0.1)):
    """Metrics of a run with so many training and test images of each class, half of all correct."""
    return metrics(0.5, groups) | {
        "train_counts": train,
        "test_counts": test,
        "per_class_accuracy": [0.5] * len(test),
    }


MEASURED = measured([200, 60, 5, 3], [30, 20, 25, 25])


def section(*records):
    (found,) = sections(frame(records))
    return found


def shown(*records):
    table = accuracy_table(section(*records))
    return table.cells.get(of_test.TEST_ERROR), table.spoken()


def test_the_images_behind_an_accuracy_are_those_of_its_classes():
    assert of_test.tested(MEASURED, RULE) == {
        "many_tested": 30,
        "medium_tested": 20,
        "few_tested": 50,
        "top1_tested": 100,
    }


@pytest.mark.parametrize("known", [{}, {"train_counts": [3, 2]}, {"train_counts": [3, 2], "test_counts": [1]}])
def test_nothing_is_said_where_the_images_are_not_known(known):
    assert of_test.tested(known, RULE) == {}
    assert of_test.tested(MEASURED, "a rule of later") == {}


def test_a_small_test_set_has_its_binomial_error_beside_every_accuracy():
    cells, caption = shown(sample(metrics=MEASURED, group_rule=RULE))
    # sqrt(0.8 * 0.2 / 30), sqrt(0.5 * 0.5 / 20), sqrt(0.1 * 0.9 / 50), sqrt(0.5 * 0.5 / 100)
    assert [*cells] == ["7.3 / 11.2 / 4.2 / 5.0"] and of_test.EXPLAINED in caption


def test_it_is_that_of_one_run_however_many_there_are():
    many = runs([(0.5, 0.1)] * 4, group_rule=RULE)
    for record in many:
        record.metrics.update(MEASURED)
    assert [*shown(*many)[0]] == [*shown(many[0])[0]]


def test_a_group_without_an_image_has_a_dash():
    empty = measured([200, 60], [30, 20], (0.8, 0.5, None))
    assert [*shown(sample(metrics=empty, group_rule=RULE))[0]] == ["7.3 / 11.2 / – / 7.1"]


@pytest.mark.parametrize(("images", "small"), [(of_test.SMALL - 1, True), (of_test.SMALL, False)])
def test_a_large_test_set_has_no_such_column(images, small):
    cells, caption = shown(sample(metrics=measured([200, 60], [images - 20, 20]), group_rule=RULE))
    assert ((cells is not None), of_test.TEST_ERROR in caption) == (small, small)
