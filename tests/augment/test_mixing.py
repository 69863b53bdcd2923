"""Blends, boxes and label shares, against what the authors' code computed."""

import pytest
import torch
from helpers.golden_vectors import golden

from lt_bench.augment.mixing import Box, blend, box_around, kept_share, paste, remix_shares

BOXES, MIXES = golden("mixing_boxes"), golden("mixing_mixes")


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_boxes_are_those_of_the_authors_code(rounding):
    for number in range(60):
        height, width, row, column = (
            int(BOXES[key][number]) for key in ("height", "width", "center_row", "center_column")
        )
        box = box_around(height, width, float(BOXES["lam"][number]), row, column, rounding)
        assert [box.top, box.left, box.bottom, box.right] == BOXES[f"{rounding}__box"][number].tolist()
        assert kept_share(box, height, width) == pytest.approx(float(BOXES[f"{rounding}__kept"][number]), rel=1e-12)


@pytest.mark.parametrize("case", ["mixup0", "mixup1", "mixup2"])
def test_blends_are_those_of_the_authors_code(case):
    images, order = MIXES["images"].double(), MIXES[f"{case}__permutation"]
    mixed = blend(images, images[order], float(MIXES[f"{case}__lam"]))
    torch.testing.assert_close(mixed, MIXES[f"{case}__mixed"].double(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("number", range(int(MIXES["num_remix"])))
def test_label_shares_of_remix_are_those_of_public_code(number):
    case = {key.partition("__")[2]: value for key, value in MIXES.items() if key.startswith(f"remix{number}__")}
    values = (float(case[key]) for key in ("lam", "kappa", "tau"))
    kept = remix_shares(case["labels_a"], case["labels_b"], MIXES["counts"].double(), *values)
    torch.testing.assert_close(kept, case["label_lam"].double(), rtol=1e-12, atol=0)


def test_glmc_mixes_first_views_and_cuts_second_ones():
    for number in range(3):
        share, (row, column) = float(MIXES[f"glmc{number}__lam"]), MIXES[f"glmc{number}__center"].tolist()
        first = blend(MIXES["images"].double(), MIXES["partner_images"].double(), share)
        torch.testing.assert_close(first, MIXES[f"glmc{number}__mixed"].double(), rtol=1e-5, atol=2e-6)
        box = box_around(8, 8, share, row, column, "ceil")
        second = paste(MIXES["glmc__second_images"], MIXES["glmc__second_partner_images"], box)
        torch.testing.assert_close(second, MIXES[f"glmc{number}__cut"])


def test_a_pasted_box_leaves_the_images_alone_and_its_share_is_that_of_unchanged_pixels():
    images, others = torch.zeros(2, 3, 10, 14), torch.ones(2, 3, 10, 14)
    box = box_around(10, 14, 0.4, 2, 12)
    mixed = paste(images, others, box)
    assert not images.any() and kept_share(box, 10, 14) == pytest.approx(float((mixed == 0).float().mean()))
    assert torch.equal(paste(images, others, box_around(10, 14, 1.0, 5, 5)), images)  # an empty box
    assert box_around(10, 14, 0.0, 5, 7) == Box(0, 0, 10, 14)
