"""The momentum encoder: the moving average, what does not follow, one operation, its state."""

import copy

import pytest
import torch
from benchmarks.harness import OpCount
from torch import nn

from lt_bench.errors import SettingError
from lt_bench.models.heads import ProjectionHead
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.models.tiny import TinyEncoder


def parts(seed=0):
    torch.manual_seed(seed)
    return TinyEncoder(), ProjectionHead(64, 16, 8, batch_norm=True)


def moved(modules):
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))


def test_begins_as_a_copy_of_its_own():
    encoder, head = parts()
    momentum = MomentumEncoder(encoder, head, momentum=0.9)
    images = torch.randn(5, 3, 8, 8)
    before = momentum.eval()(images)
    torch.testing.assert_close(before, head.eval()(encoder.eval()(images)))
    moved([encoder, head])
    torch.testing.assert_close(momentum(images), before, rtol=0, atol=0)


def test_parameters_are_the_moving_average():
    modules = parts()
    momentum = MomentumEncoder(*modules, momentum=0.9)
    expected = [parameter.detach().double() for module in modules for parameter in module.parameters()]
    for _ in range(3):
        moved(modules)
        momentum.update(*modules)
        sources = [parameter for module in modules for parameter in module.parameters()]
        expected = [0.9 * old + 0.1 * new.double() for old, new in zip(expected, sources, strict=True)]
    for found, wanted in zip(momentum.parameters(), expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


def test_batch_norm_statistics_are_its_own():
    encoder, head = parts()
    momentum = MomentumEncoder(encoder, head, momentum=0.0)
    encoder(torch.randn(9, 3, 8, 8))
    own = copy.deepcopy(list(momentum.buffers()))
    momentum.update(encoder, head)
    assert all(torch.equal(before, after) for before, after in zip(own, momentum.buffers(), strict=True))
    momentum.train()(torch.randn(9, 3, 8, 8))
    assert not torch.equal(own[0], next(momentum.buffers()))


def test_nothing_of_it_is_trained():
    encoder, head = parts()
    momentum = MomentumEncoder(encoder, head, momentum=0.99)
    assert not any(parameter.requires_grad for parameter in momentum.parameters())
    assert all(parameter.requires_grad for parameter in (*encoder.parameters(), *head.parameters()))
    assert not momentum(torch.randn(4, 3, 8, 8)).requires_grad


def test_the_update_is_one_dispatched_operation_whatever_the_network():
    for encoder in (nn.Linear(3, 64), TinyEncoder(), resnet32_cifar()):
        head = ProjectionHead(64, 64, 32, batch_norm=True)
        momentum = MomentumEncoder(encoder, head, momentum=0.999)
        with OpCount() as kernels:
            momentum.update(encoder, head)
        assert kernels.count == 1


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(SettingError, match="momentum is at least 0 and below 1"):
        MomentumEncoder(nn.Linear(2, 2), momentum=momentum)
