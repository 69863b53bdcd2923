"""Named sets of logits in place of what is evaluated."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.samples import predictions

from lt_bench.errors import UsageError
from lt_bench.evaluation.metrics import METRICS, evaluate
from lt_bench.evaluation.named import metric_of, with_logits
from lt_bench.evaluation.predictions import Predictions

LABELS = np.arange(60) % 3


def made(seed: int = 0) -> Predictions:
    draw = np.random.default_rng(seed).normal(size=(2, 60, 3)) + np.eye(3)[LABELS]
    plain = predictions(draw[0], LABELS, [50, 20, 5])
    return replace(plain, logits_by_name={**plain.logits_by_name, "expert0": draw[1]})


def test_a_set_stands_in_place_of_what_is_evaluated_also_on_validation_images() -> None:
    both = replace(made(), validation=made(1))
    changed = with_logits(both, "expert0")
    np.testing.assert_array_equal(changed.logits, both.logits_by_name["expert0"])
    assert changed.validation is not None and both.validation is not None
    np.testing.assert_array_equal(changed.validation.logits, both.validation.logits_by_name["expert0"])
    assert with_logits(both, "logits") is both
    without = predictions(made(1).logits, LABELS, [50, 20, 5])
    assert with_logits(replace(both, validation=without), "expert0").validation is None


def test_other_names_are_refused() -> None:
    with pytest.raises(UsageError, match="no set of logits 'expert1'; there are logits, expert0"):
        with_logits(made(), "expert1")
    counted = Predictions(confusion=np.eye(3, dtype=int), train_counts=np.ones(3, dtype=int), group_rule="thirds")
    with pytest.raises(UsageError, match="there are none, but counts"):
        with_logits(counted, "logits")


@pytest.mark.usefixtures("metrics_end_with_the_test")
def test_a_metric_of_a_set_is_known_where_the_set_is() -> None:
    name = metric_of("ece@expert0")
    assert METRICS[name].column == "ECE (expert0)" and (METRICS[name].unit, METRICS[name].better) == ("%", "lower")
    assert evaluate(made(), {name}) == {name: evaluate(with_logits(made(), "expert0"), {"ece"})["ece"]}
    assert evaluate(with_logits(predictions(made().logits, LABELS, [50, 20, 5]), "logits"), {name}) == {}
    assert metric_of("ece") == "ece" and metric_of(name) == name and list(METRICS).count(name) == 1
    for word in ("ece@", "nothing@expert0", "test_counts@expert0", "test_counts"):
        with pytest.raises(KeyError):
            metric_of(word)
