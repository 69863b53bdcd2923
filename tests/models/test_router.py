"""RIDE's router: the authors' scores, loss, gradients and routes, and what a route costs."""

import pytest
import torch
from helpers.fingerprints import hashed
from helpers.golden_vectors import golden
from torch import nn

from lt_bench.config.trust import load
from lt_bench.errors import SettingError
from lt_bench.losses.router import needs_more, routing_loss
from lt_bench.methods.experts import Experts
from lt_bench.models.experts import ExpertHeads
from lt_bench.models.kept import node_of, rebuilt
from lt_bench.models.pool import InputPool
from lt_bench.models.resnet_cifar import resnet8_cifar
from lt_bench.models.router import RoutedExperts, flops_by_experts

ARRAY = {"rtol": 1e-5, "atol": 2e-6}


class Said(ExpertHeads):
    """Experts whose logits (B, K, C) are given."""

    def __init__(self, logits):
        super().__init__(nn.Linear(1, 1), logits.shape[1])
        self.said = logits

    def expert_logits(self, features):
        return self.said


def authors():
    case = golden("experts_ride_router")
    logits, features = case["expert_logits"].double().transpose(0, 1), case["expert_features"].double()
    width, top = features.shape[2], int(case["top_choices"])
    router = RoutedExperts(Said(logits), width, logits.shape[2], top).double()
    for number in range(2):
        router.weight.data[number] = 1.2 * hashed(1000 * number, (16, width))
        router.bias.data[number] = 0.1 * hashed(3000 + 1000 * number, (16,))
    router.score.weight.data, router.score.bias.data = hashed(40000, (1, 16 + top)), 0.1 * hashed(50000, (1,))
    return case, router, features.transpose(0, 1).flatten(1), logits


def test_it_is_trained_as_by_the_authors_code():
    case, router, features, logits = authors()
    scores = router.scores(features, logits)
    torch.testing.assert_close(scores.detach().T, case["scores"], **ARRAY)
    loss = routing_loss(scores, needs_more(logits, case["labels"].long()), float(case["pos_weight"]))
    torch.testing.assert_close(loss.detach(), case["loss"].squeeze(), rtol=1e-9, atol=0.0)
    loss.backward()
    torch.testing.assert_close(router.weight.grad, case["grad_hidden"], **ARRAY)
    torch.testing.assert_close(router.score.weight.grad, case["grad_shared"], **ARRAY)


def test_images_take_the_experts_that_they_take_there():
    case, router, features, logits = authors()
    with torch.no_grad():
        found, used = router.routed(features)
        assert used.tolist() == case["experts_used"].long().tolist()
        torch.testing.assert_close(found, case["routed_output"], **ARRAY)
        torch.testing.assert_close(router.named_logits(features)["expert1"], logits[:, 1])
    torch.testing.assert_close(logits.mean(1), case["full_output"], **ARRAY)


def test_a_further_expert_is_needed_where_the_first_are_wrong_and_more_are_right():
    said = torch.tensor([[[1.0, 0], [0, 3], [9, 0]], [[0, 1.0], [9, 0], [0, 9]], [[1.0, 0], [1, 0], [1, 0]]])
    labels = torch.tensor([0, 0, 1])
    assert needs_more(said, labels).tolist() == [[False, True], [True, False], [False, False]]


def test_it_is_built_again_from_its_settings():
    torch.manual_seed(0)
    router = RoutedExperts(ExpertHeads(nn.Linear(4, 3), 2), 4, 3, top=30)
    again = rebuilt(node_of(router), load)
    again.load_state_dict(router.state_dict())
    features = torch.randn(5, 8)
    torch.testing.assert_close(again(features), router(features))
    torch.testing.assert_close(router.named_logits(features)["mean"], router.experts(features))


@pytest.mark.parametrize(("shared", "trunk"), [(1, 2 * 9 * (3 * 16 + 2 * 16 * 16) * 16**2), (0, 0)])
def test_each_further_expert_costs_its_tail_its_head_and_a_decision(shared, trunk):
    """The trunk is the stem and a block at 16 x 16 pixels."""
    encoder = Experts(3, shared_stages=shared).applied(InputPool(2, resnet8_cifar()))
    width = encoder.feature_dim // 3
    router = RoutedExperts(ExpertHeads(nn.Linear(width, 10), 3), width, 10, top=4)
    first, second, third = flops_by_experts(encoder.eval(), router.eval(), torch.randn(1, 3, 32, 32))
    expert, deciding = third - second, 2 * 16 * width + 2 * (16 + 4)
    assert (first, second) == (trunk + expert + deciding, trunk + 2 * (expert + deciding))


def test_one_expert_alone_is_refused():
    with pytest.raises(SettingError, match="experts is 2 or more"):
        RoutedExperts(ExpertHeads(nn.Linear(4, 3), 1), 4, 3)
