"""Directions: regular simplices, the authors' construction, and what a search finds where there is no simplex."""

import pytest
import torch
from helpers.golden_vectors import golden

from lt_bench.errors import SettingError
from lt_bench.geometry.simplex import official_simplex, simplex, spread

GOLDEN = {"rtol": 0, "atol": 1e-12}


def gram(directions):
    return directions @ directions.T


def regular(count):
    return torch.full((count, count), -1 / (count - 1), dtype=torch.float64).fill_diagonal_(1)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_the_authors_construction_is_the_golden_one(case):
    vectors = golden("gh_target", case)
    found = official_simplex(vectors["gaussian"])
    torch.testing.assert_close(found, vectors["target"], **GOLDEN)
    torch.testing.assert_close(gram(found), vectors["gram"], **GOLDEN)


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_a_simplex_is_regular_also_where_the_authors_is_not(case):
    vectors = golden("gh_target", case)
    found = simplex(vectors["gaussian"])
    torch.testing.assert_close(gram(found), regular(len(found)), **GOLDEN)
    torch.testing.assert_close(found.sum(0), torch.zeros(found.shape[1], dtype=torch.float64), **GOLDEN)
    is_regular = torch.allclose(vectors["gram"], regular(len(found)))
    assert is_regular == (case != "c2")  # as many directions as dimensions, plus one


def test_facts_of_the_authors_stored_directions():
    stored = golden("gh_target", "official")
    count, dim = stored["shape"].tolist()
    generator = torch.Generator().manual_seed(0)
    for construct in (simplex, official_simplex):
        found = construct(torch.randn(count, dim, generator=generator, dtype=torch.float64))
        lengths, cosines = found.norm(dim=1), gram(found)[~torch.eye(count, dtype=torch.bool)]
        for value, name in ((lengths.min(), "row_norm_min"), (lengths.max(), "row_norm_max")):
            torch.testing.assert_close(value, stored[name], **GOLDEN)
        for value, name in ((cosines.min(), "offdiag_cos_min"), (cosines.max(), "offdiag_cos_max")):
            torch.testing.assert_close(value, stored[name], **GOLDEN)
        assert int(torch.linalg.matrix_rank(found)) == stored["rank"]
        torch.testing.assert_close(torch.linalg.svdvals(found), stored["singular_values"], rtol=0, atol=1e-6)
        assert float(found.sum(0).abs().max()) < 1e-12 and float(stored["abs_column_sum_max"]) < 1e-12


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8])
def test_every_number_of_directions_up_to_one_more_than_dimensions(count):
    gaussian = torch.randn(count, 7, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    torch.testing.assert_close(gram(simplex(gaussian)), regular(count), **GOLDEN)


def test_another_draw_turns_it():
    first, second = (simplex(torch.randn(4, 6, generator=torch.Generator().manual_seed(s))) for s in (0, 1))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("construct", [simplex, official_simplex])
@pytest.mark.parametrize("count", [1, 6])
def test_other_numbers_are_refused(construct, count):
    with pytest.raises(SettingError, match=f"from 2 to 5, .*, not {count}"):
        construct(torch.randn(count, 4))


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_a_search_finds_the_axes_and_their_opposites(dim):
    """2 D points: the cross-polytope, the unique best for every such energy (Cohn and Kumar, JAMS 2007)."""
    cosines = gram(spread(2 * dim, dim))
    assert (cosines.sort(1).values[:, 0] < -1 + 1e-6).all()
    torch.testing.assert_close(cosines.abs(), _ones_where(cosines.abs() > 0.5), rtol=0, atol=1e-3)


def _ones_where(mask):
    assert (mask.sum(1) == 2).all()
    return mask.double()


def test_a_search_finds_polygons_the_icosahedron_and_simplices():
    assert float(gram(spread(7, 2)).fill_diagonal_(-1).max()) == pytest.approx(
        torch.cos(torch.tensor(2 * torch.pi / 7)).item(), abs=1e-4
    )
    assert float(gram(spread(12, 3)).fill_diagonal_(-1).max()) == pytest.approx(5**-0.5, abs=1e-4)
    torch.testing.assert_close(gram(spread(5, 4)), regular(5), rtol=0, atol=1e-4)


def test_a_search_is_repeatable_and_gives_unit_vectors():
    first = spread(9, 4)
    spread.cache_clear()
    assert torch.equal(first, spread(9, 4))
    torch.testing.assert_close(first.norm(dim=1), torch.ones(9, dtype=torch.float64))
