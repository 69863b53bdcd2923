"""The harmonization loss against the golden vectors, and its properties."""

import pytest
import torch
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near

from lt_bench.geometry.sinkhorn import sinkhorn
from lt_bench.losses.gh import direction_scores, geometric_harmonization


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
@pytest.mark.parametrize(("dtype", "value", "gradient"), [(torch.float64, 1e-6, 1e-6), (torch.float32, 1e-4, 1e-3)])
def test_equals_the_golden_scores_assignments_loss_and_gradients(case, dtype, value, gradient):
    vectors = golden("gh_loss", case)
    views = [vectors[name].to(dtype).requires_grad_() for name in ("z1", "z2")]
    scores = [direction_scores(view, vectors["target"]) for view in views]
    words = (vectors["prior"], float(vectors["epsilon"]), int(vectors["iterations"]))
    assignments = [sinkhorn(one, *words) for one in scores]
    loss = geometric_harmonization(*scores, *assignments, float(vectors["temperature"]))
    for number in (0, 1):
        assert_near(scores[number], vectors[f"t{number + 1}"], value)
        assert_near(assignments[number], vectors[f"assignment{number + 1}"], value)
    assert_near(loss, vectors["loss"], value)
    for found, name in zip(torch.autograd.grad(loss, views), ("grad_z1", "grad_z2"), strict=True):
        assert_near(found, vectors[name], gradient)


def example():
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    directions = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    assignments = torch.rand(2, 5, 6, generator=generator, dtype=torch.float64)
    return views, directions, assignments / assignments.sum(2, keepdim=True)


def test_the_length_of_an_embedding_does_not_matter():
    (first, _), directions, _ = example()
    torch.testing.assert_close(direction_scores(3 * first, directions), direction_scores(first, directions))
    torch.testing.assert_close(direction_scores(first, directions).norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_equals_the_equation_written_as_loops():
    views, directions, assignments = example()
    first, second = (direction_scores(view, directions) for view in views)
    total = 0.0
    for image in range(5):
        for scores, other in ((second, assignments[0]), (first, assignments[1])):
            logs = (scores[image] / 0.3).exp() / (scores[image] / 0.3).exp().sum()
            total -= float((other[image] * logs.log()).sum())
    assert float(geometric_harmonization(first, second, *assignments, 0.3)) == pytest.approx(total / 5, rel=1e-12)


def test_each_view_has_a_gradient_of_its_own():
    views, directions, assignments = example()
    function = lambda *both: geometric_harmonization(  # noqa: E731
        *(direction_scores(view, directions) for view in both), *assignments, 0.3
    )
    assert torch.autograd.gradcheck(function, tuple(view.clone().requires_grad_() for view in views))


def test_computes_in_single_precision_under_autocast():
    views, directions, assignments = (part.float() for part in example())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = [direction_scores(view.bfloat16(), directions) for view in views]
        loss = geometric_harmonization(*scores, *assignments, 0.1)
    assert loss.dtype == torch.float32
    expected = [direction_scores(view.bfloat16().float(), directions) for view in views]
    torch.testing.assert_close(loss, geometric_harmonization(*expected, *assignments, 0.1))
