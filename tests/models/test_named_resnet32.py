"""The four networks that the field calls ResNet-32, against their authors' sizes and outputs."""

import numpy as np
import pytest
import torch
from helpers.fingerprints import fill_hashed, image_batch
from helpers.golden_vectors import FOLDER
from torch import nn

from lt_bench.models.resnet_cifar import resnet32_cifar, resnet32_cifar_bbn, resnet32_cifar_w4, resnet34_cifar

STORED = dict(np.load(FOLDER / "mixing_networks.npz"))
SIZES = dict(zip(STORED["names"].tolist(), STORED["params"].tolist(), strict=True))  # of whole networks
LINEAR = {"ldam_resnet32_linear_c10": 10, "lade_resnet32_c100": 100, "weight_balancing_resnet34_c100": 100}


def fingerprint(name, output):
    output = output.detach()
    columns = STORED[f"{name}_out0"].shape[1]
    assert list(output.shape) == STORED[f"{name}_out0_shape"].tolist()
    np.testing.assert_allclose(output[:, :columns], STORED[f"{name}_out0"], rtol=1e-5)
    np.testing.assert_allclose(output.sum(), STORED[f"{name}_out0_sum"], rtol=1e-8)
    np.testing.assert_allclose(output.norm(), STORED[f"{name}_out0_l2"], rtol=1e-8)


def with_classifier(encoder, classes):
    return fill_hashed(nn.Sequential(encoder, nn.Linear(encoder.feature_dim, classes)))


def test_outputs_are_those_of_the_authors_networks():
    bbn = fill_hashed(resnet32_cifar_bbn())
    fingerprint("lade_resnet32_encoder_train", bbn.train()(image_batch(3, 32)))
    bbn = fill_hashed(resnet32_cifar_bbn())
    fingerprint("lade_resnet32_encoder_eval", bbn.eval()(image_batch(2, 32)))
    fingerprint("glmc_resnet32_eval", with_classifier(resnet32_cifar_w4(), 10).eval()(image_batch(2, 32)))
    fingerprint("glmc_resnet32_train", with_classifier(resnet32_cifar_w4(), 10).train()(image_batch(2, 32)))
    fingerprint("weight_balancing_resnet34_eval", with_classifier(resnet34_cifar(), 10).eval()(image_batch(1, 32)))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (resnet32_cifar, 463_504),
        (resnet32_cifar_bbn, 537_488),
        (resnet32_cifar_w4, 7_383_616),
        (resnet34_cifar, 21_276_992),
    ],
)
def test_sizes(network, parameters):
    assert sum(parameter.numel() for parameter in network().parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "network"), [*zip(LINEAR, (resnet32_cifar, resnet32_cifar_bbn, resnet34_cifar), strict=True)]
)
def test_sizes_with_a_classifier_are_the_authors(name, network):
    encoder = network()
    whole = nn.Sequential(encoder, nn.Linear(encoder.feature_dim, LINEAR[name]))
    assert sum(parameter.numel() for parameter in whole.parameters()) == SIZES[name]


def test_doubled_blocks_read_the_same_maps():
    network = resnet32_cifar_bbn().eval()
    doubled, maps = network.stages[-1][-1], torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(doubled(maps), torch.cat([doubled.first(maps), doubled.second(maps)], 1))
