"""The losses of GLMC against the authors' weights and targets, and their limits."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden_vectors import golden

from lt_bench.errors import DataError
from lt_bench.losses.glmc import mixed_cross_entropy, mutual_similarity, power_weights

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("exponent", ["1.0", "1.2"])
def test_weights_are_those_of_the_authors(exponent):
    stored = golden("mixing_class_vectors")
    names = [name for name in stored if name.endswith(f"__glmc_weights_{exponent}")]
    assert len(names) >= 3
    for name in names:
        counts = stored[name.replace(f"glmc_weights_{exponent}", "counts")]
        torch.testing.assert_close(power_weights(counts, float(exponent)), stored[name].double(), rtol=1e-5, atol=2e-6)
    assert torch.equal(power_weights(torch.tensor([9, 1]), 0), torch.ones(2, dtype=torch.float64))
    with pytest.raises(DataError):
        power_weights(torch.tensor([9, 0]), 1.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mixed_loss_is_that_of_the_authors_targets(weighted):
    """Theirs is a product with a target (B, C), whose gradient is compared too."""
    case = golden("mixing_mixes")
    numbers = sorted({name.split("__")[0] for name in case if name.startswith("glmc") and name.endswith("__target")})
    assert len(numbers) >= 2
    for number in numbers:
        target = case[f"{number}__target{'_weighted' * weighted}"].double()
        logits = torch.randn(target.shape, dtype=torch.float64, generator=GENERATOR).requires_grad_()
        labels, others = case["labels"], case["partner_labels"]
        kept = torch.full((len(labels),), float(case[f"{number}__lam"]), dtype=torch.float64)
        weights = case["glmc__weights"].double() if weighted else None
        found = mixed_cross_entropy(logits, labels, others, kept, weights)
        expected = -(target * F.log_softmax(logits, 1)).sum(1).mean()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
        gradients = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=2e-6)


def test_an_image_that_keeps_its_label_has_plain_cross_entropy():
    logits, labels = torch.randn(6, 4, generator=GENERATOR), torch.tensor([0, 1, 2, 3, 0, 1])
    found = mixed_cross_entropy(logits, labels, labels.flip(0), torch.ones(6))
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))
    assert mixed_cross_entropy(logits.bfloat16(), labels, labels, torch.ones(6)).dtype == torch.float32


def test_predictions_of_one_mixture_follow_the_projection_of_the_other_alone():
    one, other, p, q = (torch.randn(5, 3, generator=GENERATOR).requires_grad_() for _ in range(4))
    found = mutual_similarity((one, other), (p, q))
    torch.testing.assert_close(found, F.cosine_similarity(one, q).mean() + F.cosine_similarity(other, p).mean())
    found.backward()
    assert one.grad is not None and other.grad is not None and p.grad is None and q.grad is None
    torch.testing.assert_close(mutual_similarity((p, q), (q, p)), torch.tensor(2.0))
