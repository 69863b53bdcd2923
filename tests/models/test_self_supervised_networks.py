"""The self-supervised networks, dense and pruned, against the authors': sizes, layers, outputs."""

from typing import TypeVar

import numpy as np
import pytest
import torch
from helpers.golden_vectors import FOLDER, golden
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lt_bench.geometry.pruning import magnitude_masks
from lt_bench.models.heads import SimCLRHead
from lt_bench.models.input_normalization import InputNormalization
from lt_bench.models.pruned import PrunedBranch
from lt_bench.models.resnet import resnet50
from lt_bench.models.resnet_cifar import resnet18_cifar, resnet34_cifar

Network = TypeVar("Network", bound=nn.Module)


def fill_sines(network: Network) -> Network:
    """The network itself in double precision and evaluation; batch norms keep the values they begin with."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            count, fan_in = part.weight.numel(), part.weight[0].numel()
            phase = 0.1 * len(part.weight) + 0.01 * fan_in
            row = torch.sin(12.9898 * torch.arange(count, dtype=torch.float64) + phase)
            part.weight.data = np.sqrt(4 / fan_in) * row.reshape(part.weight.shape)
            if part.bias is not None:
                part.bias.data.zero_()
    return network.double().eval()


def sine_images(case: dict[str, Tensor]) -> Tensor:
    """The images that a case's outputs were taken of."""
    shape = tuple(case["input_shape"].tolist())
    return (0.5 + 0.5 * torch.sin(0.05 * torch.arange(np.prod(shape), dtype=torch.float64))).reshape(shape)


def parameters(*modules: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def assert_output(output: Tensor, case: dict[str, Tensor], name: str) -> None:
    """Compare features or embeddings with the stored ones: shape, first columns, sum and length."""
    output, first = output.detach(), case[f"{name}_head16"]
    assert list(output.shape) == case[f"{name}_shape"].tolist()
    torch.testing.assert_close(output[:, :16], first, rtol=0, atol=1e-6 * float(first.abs().max()))
    assert float(output.sum()) == pytest.approx(float(case[f"{name}_sum"]), rel=1e-6)
    assert float(output.norm()) == pytest.approx(float(case[f"{name}_l2"]), rel=1e-6)


def convolutions(encoder):
    """The authors' shapes of an encoder's convolutions, in order."""
    parts = [part for part in encoder.modules() if isinstance(part, nn.Conv2d)]
    return ["{}x{}x{}x{}/s{}/p{}".format(*part.weight.shape, part.stride[0], part.padding[0]) for part in parts]


def layers(head, copies):
    """The authors' names of a head's layers with their shapes, in order, where every batch norm is there so often."""
    found, linear, norm = [], 0, 0
    for part in head:
        shapes = [f"{name}:{'x'.join(map(str, value.shape))}" for name, value in part.named_parameters()]
        if isinstance(part, nn.Linear):
            linear += 1
            found += [f"fc{linear}.{shape}" for shape in shapes]
        elif isinstance(part, nn.BatchNorm1d):
            norm += 1
            places = ["bn_list.0.", "bn_list.1."] if copies == 2 else [""]
            found += [f"bn{norm}.{place}{shape}" for place in places for shape in shapes]
    return found


# encoder, share of pruned weights (None: no pruned branch), hidden layers of the head
STORED = {
    ("gh_backbones", "simclr_resnet18_cifar"): (resnet18_cifar, None, 1),
    ("gh_backbones", "simclr_resnet34_cifar"): (resnet34_cifar, None, 1),
    ("gh_backbones", "simclr_resnet50_imagenet"): (resnet50, None, 1),
    ("gh_backbones", "sdclr_resnet18_cifar"): (resnet18_cifar, 0.9, 1),
    ("gh_backbones", "sdclr_resnet50_imagenet"): (resnet50, 0.1, 1),
    ("boosted_cl_backbones", "boosted_cl_resnet18_cifar"): (resnet18_cifar, None, 1),
    ("boosted_cl_backbones", "sdclr_two_layer_head_resnet18_cifar"): (resnet18_cifar, 0.9, 1),
    ("boosted_cl_backbones", "sdclr_repository_three_layer_head_resnet18_cifar"): (resnet18_cifar, 0.9, 2),
    ("boosted_cl_backbones", "sdclr_repository_three_layer_head_resnet50_imagenet"): (resnet50, 0.1, 2),
}
NOT_NORMALISED = ("simclr_resnet18_cifar", "simclr_resnet34_cifar")  # their images are, before the network


@pytest.mark.parametrize(("file", "name"), STORED)
def test_networks_are_the_authors(file, name):
    make, fraction, hidden_layers = STORED[file, name]
    case, texts = golden(file, name), np.load(FOLDER / f"{file}.npz")
    encoder = fill_sines(make() if name in NOT_NORMALISED else InputNormalization(make()))
    head = fill_sines(SimCLRHead(encoder.feature_dim, encoder.feature_dim, 128, hidden_layers))
    branches = [] if fraction is None else [PrunedBranch(encoder), PrunedBranch(head)]
    images = sine_images(case)
    features = encoder(images)
    assert_output(head(features), case, "embedding")
    assert parameters(encoder, head, *branches) == case["parameters"]
    assert parameters(head, *branches[1:]) == case["head_parameters"]
    assert layers(head, 1 + bool(branches)) == texts[f"{name}_head_shapes"].tolist()
    if file == "gh_backbones":
        assert_output(features, case, "feature")
        assert parameters(encoder, *branches[:1]) == case["backbone_parameters"]
        assert len(list(nn.ModuleList([encoder, head, *branches]).parameters())) == case["parameter_tensors"]
        assert convolutions(encoder) == texts[f"{name}_conv_shapes"].tolist()
        counted = [encoder, head, *branches] if branches else [encoder]
        norms = [part for module in counted for part in module.modules() if isinstance(part, _BatchNorm)]
        assert len(norms) == case["bn_layers"]
    if file == "gh_backbones" and branches:
        check_pruned(encoder, head, branches, fraction, images, case)


def check_pruned(encoder, head, branches, fraction, images, case):
    weights = branches[0].weights(encoder)
    assert branches[1].masks() == []
    assert len(weights) == case["prunable_tensors"]
    assert sum(map(torch.numel, weights)) == case["prunable_weights"]
    branches[0].set_masks(magnitude_masks(weights, fraction))
    dropped = sum(int((~mask).sum()) for mask in branches[0].masks())
    # layers of equal shape hold equal values here, so that there are ties at the threshold
    assert abs(dropped - int(case["pruned_count"])) <= 4
    embeddings = branches[1](head, branches[0](encoder, images)).detach()
    assert float(embeddings.sum()) == pytest.approx(float(case["pruned_embedding_sum"]), rel=1e-4)
    assert float(embeddings.norm()) == pytest.approx(float(case["pruned_embedding_l2"]), rel=1e-4)
