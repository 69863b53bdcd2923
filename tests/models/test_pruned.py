"""The pruned branch: the authors' layers, any network, and what is shared with the dense branch."""

import pytest
import torch
from helpers.golden_vectors import golden
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lt_bench.geometry.pruning import magnitude_masks
from lt_bench.models.heads import SimCLRHead
from lt_bench.models.input_normalization import InputNormalization
from lt_bench.models.pool import InputPool
from lt_bench.models.pruned import PrunedBranch
from lt_bench.models.resnet import resnet50, resnext50_32x4d
from lt_bench.models.resnet_cifar import resnet8_cifar, resnet18_cifar, resnet50_cifar
from lt_bench.models.tiny import TinyEncoder

NETWORKS = {
    "tiny": (TinyEncoder, 8),
    "pooled": (lambda: InputPool(2, resnet8_cifar()), 28),
    "normalised": (lambda: InputNormalization(TinyEncoder()), 8),
    "resnet18_cifar": (resnet18_cifar, 8),
    "resnet50_cifar": (resnet50_cifar, 8),
    "resnet50": (resnet50, 32),
    "resnext50_32x4d": (resnext50_32x4d, 32),
}


class SpatialMean(nn.Module):
    def forward(self, maps):
        return maps.mean(dim=(2, 3))


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_two_batch_norms_are_the_authors_layer(case):
    """Batch norm, and a head with two of them, called now in one branch and now in the other."""
    data = golden("sdclr_dual_bn", case)
    width, dim = data["head__fc1__weight"].shape[0], data["head__fc2__weight"].shape[0]
    network = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), SpatialMean(), SimCLRHead(width, width, dim)).double()
    branch = PrunedBranch(network)
    places = {"0": "bn", "3.1": "head__bn1", "3.4": "head__bn2"}  # ours, theirs
    copies = [dict(network.named_modules()), dict(zip(branch.norm_places, branch.norms, strict=True))]
    with torch.no_grad():
        for name, theirs in (("3.0.weight", "head__fc1__weight"), ("3.0.bias", "head__fc1__bias")):
            network.get_parameter(name).copy_(data[theirs])
        network.get_parameter("3.3.weight").copy_(data["head__fc2__weight"])
        for place, theirs in places.items():
            for number, norms in enumerate(copies):
                for name in ("weight", "bias"):
                    norms[place].get_parameter(name).copy_(data[f"{theirs}__bn_list__{number}__{name}"])
    seen = []
    network[0].register_forward_hook(lambda module, inputs, outputs: seen.append(outputs.detach().clone()))
    for call, pruned in enumerate(data["branch_is_pruned"]):
        inputs = data["inputs"][call].double()
        outputs = branch(network, inputs) if pruned else network(inputs)
        torch.testing.assert_close(outputs.detach(), data["head_outputs"][call].double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(seen[call], data["bn_outputs"][call].double(), rtol=0, atol=1e-6)
    for place, theirs in places.items():
        for number, norms in enumerate(copies):
            for name, value in norms[place].named_buffers():
                final = data[f"final_{theirs}__bn_list__{number}__{name}"]
                torch.testing.assert_close(value, final, rtol=0, atol=1e-6)


def build(name):
    torch.manual_seed(0)
    make, size = NETWORKS[name]
    network = make()
    return network, PrunedBranch(network), torch.randn(3, 3, size, size)


def halve(network, branch):
    branch.set_masks(magnitude_masks(branch.weights(network), 0.5))


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_has_a_branch_that_begins_as_itself_and_changes_with_its_masks(name):
    network, branch, images = build(name)
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    assert len(branch.norms) == sum(isinstance(part, _BatchNorm) for part in network.modules()) > 0
    assert [id(weight) for weight in branch.weights(network)] == [id(part.weight) for part in convolutions]
    network.eval()
    dense = network(images)
    assert torch.equal(branch(network, images), dense)
    halve(network, branch)
    assert not torch.allclose(branch(network, images), dense)
    assert torch.equal(network(images), dense)
    with torch.no_grad():
        for weight, mask in zip(branch.weights(network), branch.masks(), strict=True):
            weight.mul_(mask)
    assert torch.equal(network(images), branch(network, images))  # the same batch norms still


def test_the_dense_branch_neither_sees_the_masks_nor_the_other_batch_norms():
    network, branch, images = build("tiny")
    halve(network, branch)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    branch(network, images)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(int(norm.num_batches_tracked) == 1 for norm in branch.norms)
    assert not any(name.startswith("mask") for name in network.state_dict())
    own = {name: value.clone() for name, value in branch.state_dict().items()}
    network(images)
    assert all(torch.equal(value, own[name]) for name, value in branch.state_dict().items())


def test_the_branch_is_the_network_with_the_other_batch_norms():
    network, branch, images = build("tiny")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in branch.norms.state_dict().values():
            if value.is_floating_point():
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    network.eval()
    found, dense = branch(network, images), network(images)
    assert not torch.allclose(found, dense)
    for place, norm in zip(branch.norm_places, branch.norms, strict=True):
        network.get_submodule(place).load_state_dict(norm.state_dict())
    assert torch.equal(network(images), found)


@pytest.mark.parametrize("name", ["tiny", "resnet18_cifar"])
def test_a_masked_weight_gets_no_gradient_and_a_kept_one_does(name):
    network, branch, images = build(name)
    halve(network, branch)
    weights = branch.weights(network)
    gradients = torch.autograd.grad(branch(network, images).square().sum(), [*weights, *branch.norms.parameters()])
    for gradient, mask in zip(gradients, branch.masks(), strict=False):
        assert not gradient[~mask].any()
        assert gradient[mask].any()
    assert all(gradient.isfinite().all() for gradient in gradients[len(weights) :])


def test_the_gradient_is_that_of_a_network_with_masked_weights():
    network, branch, images = build("tiny")
    halve(network, branch)
    gradients = torch.autograd.grad(branch(network, images).square().sum(), branch.weights(network))
    with torch.no_grad():
        for weight, mask in zip(branch.weights(network), branch.masks(), strict=True):
            weight.mul_(mask)
    plain = torch.autograd.grad(network(images).square().sum(), branch.weights(network))
    for gradient, expected, mask in zip(gradients, plain, branch.masks(), strict=True):
        torch.testing.assert_close(gradient, expected * mask)


def test_nothing_shared_is_in_the_state_twice():
    network, branch, _ = build("tiny")
    both = nn.ModuleDict({"network": network, "branch": branch})
    assert len({id(value) for value in both.state_dict(keep_vars=True).values()}) == len(both.state_dict())
    assert {name.partition(".")[0] for name in branch.state_dict()} == {"norms", "mask0", "mask1", "mask2"}


def test_masks_keep_the_layout_of_the_weights():
    network, branch, images = build("tiny")
    both = nn.ModuleDict({"network": network, "branch": branch}).to(memory_format=torch.channels_last)
    halve(network, branch)
    for weight, mask in zip(branch.weights(network), branch.masks(), strict=True):
        assert weight.stride() == mask.stride() == (weight * mask).stride()
    assert both["branch"](network, images).isfinite().all()


def test_masks_of_another_number_are_refused():
    network, branch, _ = build("tiny")
    with pytest.raises(ValueError, match="zip"):
        branch.set_masks(branch.masks()[:2])
