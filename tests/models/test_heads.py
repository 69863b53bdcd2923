"""Projection head and cosine classifier."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lt_bench.errors import SettingError
from lt_bench.models.heads import BiasedCosine, NormalizedLinear, ProjectionHead

GOLDEN = Path(__file__).parents[1] / "golden"


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_projections_have_unit_length_and_follow_the_formula():
    head = ProjectionHead(6, 5, 4).double()
    features = torch.randn(7, 6, dtype=torch.float64)
    first, last = head.layers[0], head.layers[2]
    plain = (features @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(head(features), plain / plain.norm(dim=1, keepdim=True))
    torch.testing.assert_close(head(features).norm(dim=1), torch.ones(7, dtype=torch.float64))


def test_unit_length_is_that_of_single_precision_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = ProjectionHead(6, 5, 4)(torch.randn(7, 6))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(7))  # in bfloat16 it would be off by 0.004


def test_batch_norm_stands_before_every_relu_and_normalises_the_batch():
    head = ProjectionHead(6, 5, 4, batch_norm=True).double()
    features = torch.randn(7, 6, dtype=torch.float64)
    first, norm, _, last = head.layers
    hidden = features @ first.weight.T + first.bias
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + norm.eps).sqrt()
    plain = hidden.clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(head(features), plain / plain.norm(dim=1, keepdim=True))
    assert head.eval()(features[:1]).isfinite().all()  # one row has no statistics of its own


def test_hidden_layers_follow_one_another():
    head = ProjectionHead(6, 5, 4, hidden_layers=2).double()
    features = torch.randn(7, 6, dtype=torch.float64)
    first, second, last = (layer for layer in head.layers if isinstance(layer, torch.nn.Linear))
    assert [tuple(layer.weight.shape) for layer in (first, second, last)] == [(5, 6), (5, 5), (4, 5)]
    hidden = (features @ first.weight.T + first.bias).clamp(min=0)
    hidden = (hidden @ second.weight.T + second.bias).clamp(min=0)
    plain = hidden @ last.weight.T + last.bias
    torch.testing.assert_close(head(features), plain / plain.norm(dim=1, keepdim=True))
    norms = [m for m in ProjectionHead(6, 5, 4, 3, batch_norm=True).layers if isinstance(m, torch.nn.BatchNorm1d)]
    assert len(norms) == 3


@pytest.mark.parametrize(
    ("name", "beside", "head"),
    [
        ("proco_resnet32_c10_linear", torch.nn.Linear(64, 10), ProjectionHead(64, 512, 128, batch_norm=True)),
        ("paco_resnet32_c100_encoder_q", torch.nn.Identity(), ProjectionHead(64, 64, 32, batch_norm=True)),
        ("gpaco_resnet32_c100", torch.nn.Linear(64, 100), ProjectionHead(64, 64, 32, hidden_layers=2)),
    ],
)
def test_heads_of_the_cifar_recipes_have_the_published_number_of_parameters(name, beside, head):
    with np.load(GOLDEN / "bcl_paco_backbones.npz") as arrays:
        published = dict(zip(arrays["names"].tolist(), arrays["params"].tolist(), strict=True))
    assert parameters(head) + parameters(beside) == published[name] - published["resnet32_encoder"]


def test_sizes_are_the_published_ones():
    assert parameters(ProjectionHead(2048, 2048, 128)) == np.load(GOLDEN / "cb_param_counts.npz")["resnet50_moco_head"]
    assert parameters(NormalizedLinear(64, 100)) == np.load(GOLDEN / "sbcl_resnet32.npz")["count_normed_linear_c100"]


def test_normalized_linear_is_the_scaled_cosine():
    layer = NormalizedLinear(5, 3, scale=30.0)
    features = torch.randn(4, 5)
    expected = 30 * torch.nn.functional.cosine_similarity(features[:, :, None], layer.weight[None], dim=1)
    torch.testing.assert_close(layer(features), expected)
    torch.testing.assert_close(layer(features * 7), expected)
    with torch.no_grad():
        layer.weight.mul_(3)
    torch.testing.assert_close(layer(features), expected)


def test_columns_start_at_unit_length_in_all_directions():
    torch.manual_seed(0)
    weight = NormalizedLinear(64, 100).weight
    torch.testing.assert_close(weight.norm(dim=0), torch.ones(100))
    assert weight.mean().abs() < 0.01
    # uniform entries of a column: the largest is at most sqrt(3 / 64) times a little, which a normal one exceeds
    assert weight.abs().max().item() == pytest.approx(np.sqrt(3 / 64), rel=0.2)


def test_gradients_pass_both_normalisations():
    layer = NormalizedLinear(4, 3).double()
    features = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)), (features, layer.weight)
    )
    layer(features)[0, 0].backward()
    # the cosine does not change with the length, so no gradient points along the feature or the column
    torch.testing.assert_close((features.grad * features).sum(), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close((layer.weight.grad * layer.weight).sum(), torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize(("hidden", "out", "key"), [(0, 4, "hidden_dim"), (-8, 4, "hidden_dim"), (4, 0, "out_dim")])
def test_a_projection_without_outputs_is_refused(hidden, out, key):
    with pytest.raises(SettingError, match=f"{key} is at least one output, not "):
        ProjectionHead(6, hidden, out)


def test_cosines_with_a_bias_are_scaled_and_learn_it():
    head = BiasedCosine(6, 4, 16.0).double()
    assert head.weight.abs().max() <= 6**-0.5 and not head.bias.any()
    features = torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        head.bias.copy_(torch.arange(4.0))
    cosines = torch.nn.functional.cosine_similarity(features[:, None], head.weight, dim=2)
    torch.testing.assert_close(head(features), 16 * cosines + torch.arange(4.0).double())
    head(features).sum().backward()
    torch.testing.assert_close(head.bias.grad, torch.full((4,), 5.0).double())
