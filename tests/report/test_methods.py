"""The matrix of methods and data sets, row by row what conf/ says."""

import pytest

from lt_bench.config.compose import groups
from lt_bench.report.methods import cell, methods_table, paper


@pytest.mark.parametrize(
    ("method", "dataset", "shown"),
    [
        ("gcl", "places_lt", "published (1)"),
        ("focal_supervised", "cifar10_lt", "published"),  # of its softmax form no figures are known
        ("balanced_softmax", "imagenet_lt", "derived (1)"),  # CE's values
        ("gpaco", "cifar10_lt", "derived"),  # those of another data set
        ("ce", "digits_lt", "derived"),  # tuned here
        ("ce", "image_folder", "derived"),  # ImageNet-LT's
        ("kcl_moco", "cifar10_lt", "–"),
        ("simclr_gh", "places_lt", "published"),
    ],
)
def test_a_cell_says_whence_the_values_of_a_recipe_are(method: str, dataset: str, shown: str) -> None:
    assert cell(method, dataset) == shown


def test_every_method_has_a_row_in_the_order_of_tables() -> None:
    rows = methods_table().cells
    assert sorted(rows["method="]) == groups()["method"]
    assert set(groups()["dataset"]) == {*rows.columns} - {"method", "method=", "paper"}
    named = rows["method"].tolist()
    assert named[0] == "CE" and named.index("SimCLR+GH") == named.index("SimCLR") + 1


def test_a_paper_is_the_first_that_the_comment_of_a_method_names() -> None:
    assert paper("gcl") == "Li et al., CVPR 2022" and paper("sdclr") == "Jiang et al., ICML 2021"
    assert paper("lift_plus") == "arXiv 2504.13282" and paper("ce") == "–"
