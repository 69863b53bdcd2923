"""ResNets for small images against the authors' own networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.fingerprints import BACKBONES, SIZES, assert_fingerprint, fill_hashed, image_batch, sizes
from torch import nn

from lt_bench.models.heads import ProjectionHead
from lt_bench.models.resnet_cifar import (
    PaddingShortcut,
    resnet8_cifar,
    resnet18_cifar,
    resnet32_cifar,
    resnet50_cifar,
    resnet_cifar,
)

GOLDEN = Path(__file__).parents[1] / "golden"
SBCL = {key: value for key, value in np.load(GOLDEN / "sbcl_resnet32.npz").items()}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def normal_like(random, parameter, scale):
    return torch.from_numpy((random.standard_normal(tuple(parameter.shape)) * scale).astype(np.float32))


@pytest.fixture
def networks():
    """ResNet-32 and head with the weights of the stored case, batch-norm at its defaults."""
    random = np.random.RandomState(int(SBCL["a_weight_seed"]))
    encoder, head = resnet32_cifar(), ProjectionHead(64, 64, 128)
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(normal_like(random, module.weight, np.sqrt(2 / module.weight[0].numel())))
        for module in head.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(normal_like(random, module.weight, 1 / np.sqrt(module.in_features)))
                module.bias.copy_(normal_like(random, module.bias, 0.1))
    return encoder, head


@pytest.fixture
def images():
    shape = (int(SBCL["a_batch"]), 3, 32, 32)
    return torch.from_numpy(np.random.RandomState(int(SBCL["a_input_seed"])).standard_normal(shape).astype(np.float32))


def test_resnet32_in_evaluation_matches_the_published_network(networks, images):
    encoder, head = (network.eval() for network in networks)
    activations = [encoder.stem(images)]
    for stage in encoder.stages:
        activations.append(stage(activations[-1]))
    assert [list(maps.shape) for maps in activations] == SBCL["a_stage_shapes"].tolist()
    means = [maps.mean().item() for maps in activations]
    np.testing.assert_allclose(means, SBCL["a_stage_means"], rtol=1e-4)
    np.testing.assert_allclose([maps.abs().mean().item() for maps in activations], SBCL["a_stage_abs_means"], rtol=1e-4)
    features = encoder(images)
    np.testing.assert_allclose(features.detach(), SBCL["a_eval_feature"], rtol=1e-4)
    np.testing.assert_allclose(head(features).detach(), SBCL["a_eval_projection"], rtol=1e-4, atol=1e-5)


def test_resnet32_in_training_matches_the_published_network(networks, images):
    encoder, head = networks
    features = encoder(images)
    projection = head(features)
    np.testing.assert_allclose(features.detach(), SBCL["a_train_feature"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(projection.detach(), SBCL["a_train_projection"], rtol=1e-3, atol=1e-4)
    weights = np.random.RandomState(int(SBCL["a_input_seed"]) + 1).standard_normal(projection.shape)
    (projection * torch.from_numpy(weights.astype(np.float32))).sum().backward()
    stem, norm = encoder.stem[0], encoder.stem[1]
    np.testing.assert_allclose(stem.weight.grad, SBCL["a_grad_conv1"], rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(norm.running_mean, SBCL["a_rm_bn1"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.running_var, SBCL["a_rv_bn1"], rtol=1e-4, atol=1e-5)


def test_resnet32_has_the_published_size():
    encoder, head = resnet32_cifar(), ProjectionHead(64, 64, 128)
    assert parameters(encoder) == SBCL["count_encoder"]
    assert parameters(head) == SBCL["count_head"]
    assert parameters(encoder) + parameters(head) == SBCL["count_total_without_unused"]
    assert parameters(encoder) + SBCL["count_unused_linear"] == SBCL["count_encoder_with_unused_linear"]
    assert sum(isinstance(module, nn.Conv2d) for module in encoder.modules()) == SBCL["count_n_conv"]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in encoder.modules()) == SBCL["count_n_bn"]
    assert parameters(nn.Linear(encoder.feature_dim, 100)) == SBCL["count_linear_c100"]
    assert parameters(nn.Linear(encoder.feature_dim, 10)) == SBCL["count_linear_c10"]


def test_resnet32_matches_the_fingerprint_of_bcl_and_paco():
    encoder = fill_hashed(resnet32_cifar())
    assert sizes(encoder) == SIZES["resnet32_encoder"]
    assert_fingerprint("resnet32_encoder", encoder.eval()(image_batch(2, 32)))
    features = encoder.train()(image_batch(4, 32)).detach()
    np.testing.assert_allclose(features, BACKBONES["resnet32_encoder_train_out0"], rtol=1e-8)
    norm = encoder.stem[1]
    np.testing.assert_allclose(norm.running_mean, BACKBONES["resnet32_encoder_train_bn1_running_mean"], rtol=1e-8)
    np.testing.assert_allclose(norm.running_var, BACKBONES["resnet32_encoder_train_bn1_running_var"], rtol=1e-8)


def test_resnet50_keeps_the_resolution_until_the_second_stage():
    encoder = resnet50_cifar().eval()
    assert parameters(encoder) == 23_500_352
    stem = encoder.relu(encoder.bn1(encoder.conv1(torch.rand(1, 3, 32, 32))))
    maps = encoder.layer1(encoder.maxpool(stem))
    assert (stem.shape, maps.shape) == ((1, 64, 32, 32), (1, 256, 32, 32))
    assert [stage[0].conv2.stride[0] for stage in (encoder.layer2, encoder.layer3, encoder.layer4)] == [2, 2, 2]
    assert encoder(torch.rand(1, 3, 8, 8)).shape == (1, encoder.feature_dim) == (1, 2048)
    assert encoder.conv1.weight.std().item() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.05)


def test_padding_shortcut_subsamples_and_pads_both_ends():
    maps = torch.arange(2 * 4 * 5 * 5, dtype=torch.float32).reshape(2, 4, 5, 5)
    out = PaddingShortcut(4, 8, 2)(maps)
    assert out.shape == (2, 8, 3, 3)
    assert not out[:, :2].any() and not out[:, 6:].any()
    torch.testing.assert_close(out[:, 2:6], maps[:, :, [0, 2, 4]][..., [0, 2, 4]])


def test_initial_weights_have_kaimings_variance():
    torch.manual_seed(0)
    stage = resnet18_cifar().stages[3]
    downsampling = stage[0].conv1.weight  # 256 -> 512 channels
    assert downsampling.std().item() == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.01)
    default = resnet18_cifar("default").stages[3][0].conv1.weight
    assert default.std().item() == pytest.approx(1 / np.sqrt(3 * 256 * 9), rel=0.01)
    narrow = resnet32_cifar().stages[2][0].conv1.weight  # 32 -> 64 channels
    assert narrow.std().item() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.03)


def test_initialisations_are_checked():
    with pytest.raises(ValueError, match="kaiming_fan_in, kaiming_fan_out, default, not 'xavier'"):
        resnet18_cifar("xavier")


@pytest.mark.parametrize("size", [8, 14, 28])
def test_resnet8_takes_small_images(size):
    encoder = resnet8_cifar()
    features = encoder(torch.randn(2, 3, size, size))
    assert features.shape == (2, encoder.feature_dim) == (2, 64)
    F.mse_loss(features, torch.zeros_like(features)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize("n", [1, 3])
def test_depth_is_six_n_plus_two(n):
    layers = sum(isinstance(module, nn.Conv2d) for module in resnet_cifar(n).modules()) + 1  # and a classifier
    assert layers == 6 * n + 2
