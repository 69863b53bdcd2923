"""Matching of classes and targets, and moving centres: published values and properties."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden

from lt_bench.geometry.assignment import class_means, matched, moved_centres

ARRAY = {"rtol": 1e-5, "atol": 2e-6}


@pytest.mark.parametrize("case", range(3))
def test_the_assignment_of_the_authors(case):
    values = golden("tsc_assignment", f"c{case}")
    centres, points = values["centroids"], values["targets"]
    found = matched(centres, points)
    assert torch.equal(found, values["target_of_class"])
    total = (centres.double() * points.double()[found]).sum()
    torch.testing.assert_close(total, values["total_cosine"], rtol=1e-8, atol=0.0)
    assert total <= (centres.double() @ points.double().T).amax(1).sum() + 1e-12
    torch.testing.assert_close((centres.double() @ points.double().T).amax(1).sum(), values["greedy_total"])


@pytest.mark.parametrize("case", range(5))
def test_centres_move_and_are_matched_as_in_the_authors_code(case):
    values = golden("tsc_loss", f"c{case}")
    before, rows = values["centroids_before"].double(), values["q"].double()
    after = moved_centres(before, rows, values["labels"], 0.9)
    torch.testing.assert_close(after, values["centroids_after"].double(), **ARRAY)
    assert torch.equal(matched(after, values["targets"]), values["assignment"])


def test_along_the_authors_steps():
    case = golden("tsc_step")
    centres = case["centroids0"].double()
    for step in range(int(case["kcl_steps"]), int(case["steps"])):
        centres = moved_centres(centres, case[f"s{step}_q"].double(), case[f"s{step}_labels"], 0.9)
        torch.testing.assert_close(centres, case[f"s{step}_centroids_after"].double(), **ARRAY)
        assert torch.equal(matched(centres, case["targets"]), case[f"s{step}_assignment"])


def directions(count, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def test_no_other_order_is_nearer():
    centres, points = directions(5), directions(5, seed=1)
    cosines = centres @ points.T
    best = max(float(cosines[range(5), order].sum()) for order in itertools.permutations(range(5)))
    found = matched(centres, points)
    assert float(cosines[range(5), found].sum()) == pytest.approx(best, rel=1e-12)


def test_classes_in_another_order_have_their_targets_and_a_rotation_changes_nothing():
    centres, points, order = directions(6), directions(6, seed=1), torch.tensor([3, 5, 0, 1, 4, 2])
    found = matched(centres, points)
    assert torch.equal(matched(centres[order], points), found[order])
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    assert torch.equal(matched(centres @ turn, points @ turn), found)


def test_absent_classes_keep_their_centres_bit_for_bit():
    centres = directions(4).float()
    rows, labels = directions(6, seed=2).float(), torch.tensor([1, 1, 3, 3, 3, 1])
    for found in (moved_centres(centres, rows, labels, 0.9), class_means(rows, labels, centres)):
        assert torch.equal(found[[0, 2]], centres[[0, 2]])
        assert not torch.equal(found[[1, 3]], centres[[1, 3]])
        torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(class_means(rows, labels, centres)[1], F.normalize(rows[labels == 1].sum(0), dim=0))
