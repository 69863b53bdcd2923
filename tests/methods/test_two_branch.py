"""What BCL and ProCo share: three views in one pass, two branches, two kinds of classifier, the prior."""

import pytest
import torch
import torch.nn.functional as F
from helpers.engine_parts import FixedBatches, Vectors, one_process

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import UsageError, keyed
from lt_bench.methods.two_branch import COSINE_SCALE, TwoBranch

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def a_batch():
    generator = torch.Generator().manual_seed(0)
    return Batch(tuple(torch.randn(6, 6, generator=generator) for _ in range(3)), LABELS, torch.arange(6))


def two_branch(**settings):
    torch.manual_seed(0)
    defaults = {"classifier": "linear", "projection_hidden": None, "projection_dim": 5, "views": ["a", "b", "c"]}
    return TwoBranch(Vectors(), TrainInfo(LABELS, 3, 10), **(defaults | settings))


def branches(method, batch):
    return method.branches(batch, one_process(FixedBatches([batch])))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_first_view_is_classified_and_the_others_are_embedded(kind):
    batch, method = a_batch(), two_branch(classifier=kind).eval()
    logits, embeddings, labels = branches(method, batch)
    first, second, third = (method.encoder(view) for view in batch.views)
    torch.testing.assert_close(logits, method.classifier(first))
    torch.testing.assert_close(embeddings, torch.stack([method.head(second), method.head(third)], dim=1))
    torch.testing.assert_close(embeddings.norm(dim=2), torch.ones(6, 2))
    assert labels is batch.labels and method.views == ("a", "b", "c")


def test_all_three_views_share_the_statistics_of_the_head():
    batch, method = a_batch(), two_branch()
    embeddings = branches(method, batch).embeddings
    together = method.head(torch.cat([method.encoder(view) for view in batch.views]))
    torch.testing.assert_close(embeddings, torch.stack(together.split(6)[1:], dim=1))
    apart = method.head(torch.cat([method.encoder(view) for view in batch.views[1:]]))
    assert not torch.allclose(embeddings[:, 0], apart[:6])


def test_branches_of_two_ranks_are_joined():
    class Twice:
        def gather(self, rows):
            return torch.cat([rows, rows])

    batch, method = a_batch(), two_branch().eval()
    alone, joined = branches(method, batch), method.branches(batch, Twice())
    for one, both in zip(alone, joined, strict=True):
        assert torch.equal(both, torch.cat([one, one]))


def test_the_classifier_is_linear_or_a_cosine_with_the_authors_scale():
    features = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    linear, cosine = (two_branch(classifier=kind).classifier for kind in ("linear", "cosine"))
    torch.testing.assert_close(linear(features), features @ linear.weight.T + linear.bias)
    expected = COSINE_SCALE * F.cosine_similarity(features[:, :, None], cosine.weight[None], dim=1)
    torch.testing.assert_close(cosine(features), expected)


@pytest.mark.parametrize(("hidden", "width"), [(None, 8), (12, 12)])
def test_the_hidden_layer_is_as_wide_as_the_features_unless_said_otherwise(hidden, width):
    head = two_branch(projection_hidden=hidden).head
    assert [layer.out_features for layer in head.layers if isinstance(layer, torch.nn.Linear)] == [width, 5]


def test_the_prior_is_that_of_the_training_set_and_no_state():
    method = two_branch()
    torch.testing.assert_close(method.log_prior.exp(), torch.tensor([3.0, 2.0, 1.0]) / 6)
    assert "log_prior" not in method.state_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": ["a", "b"]}, r"three views.*set method\.views=\["),
        ({"classifier": "quadratic"}, r"quadratic.*method\.classifier=linear"),
    ],
)
def test_wrong_settings_are_refused_with_what_to_type(settings, message):
    with pytest.raises(UsageError, match=message), keyed("method"):
        two_branch(**settings)
