"""Labels read as a person would write them, and no two rows share one."""

import pytest

from lt_bench.report.labels import labels, phrase, raw


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("method.temperature_law", "exponential", "exponential temperatures"),
        ("method.clustering", "kmeans_official", "k-means of the authors' code"),
        ("method.clustering", "balanced", "balanced clustering"),
        ("train.epochs", 24, "24 epochs"),
        ("train.lr", 1e-09, "learning rate 1e-09"),
        ("train.schedule.milestones", [58, 65], "milestones 58 and 65"),
        ("method.views", ["crop_flip", "sim_blur", "sim_blur"], "views crop_flip, sim_blur and sim_blur"),
        ("method.views", [], "views none"),
        ("method.hidden", None, "no hidden"),
        ("train.amsgrad", True, "with amsgrad"),
        ("train.amsgrad", False, "without amsgrad"),
        ("method.law", "{} of {}", "law {} of {}"),
        ("method.table", {"a": [1]}, 'table {"a": [1]}'),
        ("fidelity", "official", "fidelity official"),
    ],
)
def test_a_setting_in_words(key, value, words):
    assert phrase(key, value) == words


def test_rows_that_would_read_alike_have_their_keys():
    names = ["CE / CB"] * 3
    details = [{"method.scale": 2}, {"stage_two.scale": 2}, {"method.scale": 3}]
    assert labels(names, details) == ["CE / CB (method.scale=2)", "CE / CB (stage_two.scale=2)", "CE / CB, scale 3"]
    assert raw("CE / CB", {}) == "CE / CB" and labels(["CE / CB"], [{}]) == ["CE / CB"]
