"""ResLT's networks against fingerprints of the authors', and what their branches do in evaluation."""

import copy

import numpy as np
import pytest
import torch
from helpers.fingerprints import fill_hashed, hashed, image_batch
from helpers.golden_vectors import FOLDER, golden

from lt_bench.config.trust import load
from lt_bench.errors import SettingError
from lt_bench.models.branches import BlockBranches, NormBranches
from lt_bench.models.kept import node_of, rebuilt
from lt_bench.models.maps import spatial_maps
from lt_bench.models.resnet import resnet10, resnet50, resnet152, resnext50_32x4d, resnext101_32x4d
from lt_bench.models.resnet_cifar import resnet32_cifar, resnet_cifar

NETWORKS = golden("reslt_networks")
with np.load(FOLDER / "reslt_networks.npz") as arrays:
    NAMES = arrays["names"].tolist()


def of_cifar():
    head = NormBranches(64, 10, 3).double()
    fill_hashed(head.linear)
    for branch in range(3):
        head.weight.data[branch] = 1 + 0.3 * hashed(5000 + 100 * branch, (64,))
        head.bias.data[branch] = 0.2 * hashed(6000 + 100 * branch, (64,))
    head.norm.running_mean, head.norm.running_var = 0.1 * hashed(2000, (64,)), 1 + 0.1 * hashed(4000, (64,))
    return fill_hashed(resnet32_cifar()), head


def assert_logits(name, logits):
    """Compare logits (B, K, C) with the first of the columns, sum and length that are stored."""
    expected = {key: NETWORKS[f"{name}_{key}"] for key in ("logits", "shape", "sum", "l2", "sum_logits")}
    assert list(logits.transpose(0, 1).shape) == expected["shape"].tolist()
    close = {"rtol": 1e-8, "atol": 1e-12}
    columns = expected["logits"].shape[-1]
    torch.testing.assert_close(logits.transpose(0, 1)[..., :columns], expected["logits"], **close)
    torch.testing.assert_close(logits.sum(), expected["sum"], **close)
    torch.testing.assert_close(logits.norm(), expected["l2"], **close)
    torch.testing.assert_close(logits.sum(1)[:, :columns], expected["sum_logits"][:, :columns], **close)


@torch.no_grad()
def test_the_network_of_cifar_in_evaluation():
    encoder, head = (part.eval() for part in of_cifar())
    features = encoder(image_batch(2, 32))
    assert_logits("cifar_resnet32_c10_eval", head.branch_logits(features))
    torch.testing.assert_close(head(features), head(spatial_maps(encoder, image_batch(2, 32))))


@torch.no_grad()
def test_the_network_of_cifar_in_training():
    encoder, head = (part.train() for part in of_cifar())
    name = "cifar_resnet32_c10_train"
    assert_logits(name, head.branch_logits(spatial_maps(encoder, image_batch(4, 32))))
    for branch in "HMT":  # one norm has the statistics of all three
        for statistic in ("running_mean", "running_var"):
            expected = NETWORKS[f"{name}_BN{branch}_{statistic}"]
            torch.testing.assert_close(head.norm.get_buffer(statistic), expected, rtol=1e-8, atol=1e-12)


def of_large_images(network, **options):
    encoder = fill_hashed(network())
    return encoder, fill_hashed(BlockBranches(encoder.feature_dim, 12, 3, **options))


@torch.no_grad()
@pytest.mark.parametrize("order", ["block_first", "pool_first"])
def test_the_network_of_large_images_in_training(order):
    encoder, head = (part.train() for part in of_large_images(resnet10, order=order))
    name = f"resnet10_c12_{order}_train"
    assert_logits(name, head.branch_logits(spatial_maps(encoder, image_batch(4, 64))))
    for statistic in ("mean", "var"):
        expected = NETWORKS[f"{name}_block_bn_{statistic}"]
        found = head.norm.get_buffer(f"running_{statistic}")[::48]
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "network", "exponent", "images"),
    [
        ("resnet10_c12_gamma03_eval", resnet10, 0.3, 2),
        ("resnet10_c12_gamma0_eval", resnet10, 0.0, 2),
        ("resnet50_c12_gamma07_eval", resnet50, 0.7, 1),
        ("resnext50_c12_gamma07_eval", resnext50_32x4d, 0.7, 1),
    ],
)
def test_the_network_of_large_images_in_evaluation(name, network, exponent, images):
    encoder, head = (part.eval() for part in of_large_images(network, norm_exponent=exponent))
    features = encoder(image_batch(images, 64))
    assert_logits(name, head.branch_logits(features))
    torch.testing.assert_close(head(features), head.branch_logits(features).sum(1))


@pytest.mark.parametrize(
    ("name", "network", "classes", "kind"),
    [
        ("cifar_resnet32_c10", resnet32_cifar, 10, NormBranches),
        ("cifar_resnet32_c100", resnet32_cifar, 100, NormBranches),
        ("resnet10_c1000", resnet10, 1000, BlockBranches),
        ("resnet50_c1000", resnet50, 1000, BlockBranches),
        ("resnet50_c8142", resnet50, 8142, BlockBranches),
        ("resnext50_32x4d_c1000", resnext50_32x4d, 1000, BlockBranches),
        ("resnext101_32x4d_c1000", resnext101_32x4d, 1000, BlockBranches),
        ("cifar_resnet32_scale2_c100", lambda: resnet_cifar(5, width=2), 100, NormBranches),
        ("resnet152_c365_no_official_recipe", resnet152, 365, BlockBranches),
    ],
)
def test_numbers_of_parameters_are_the_authors(name, network, classes, kind):
    with torch.device("meta"):
        encoder = network()
        parts = encoder, kind(encoder.feature_dim, classes, 3)
    found = sum(parameter.numel() for part in parts for parameter in part.parameters())
    names = dict(zip(NAMES, NETWORKS["params"].tolist(), strict=True))
    assert found == names[name]


@pytest.mark.parametrize("head", [NormBranches(6, 5, 3), BlockBranches(6, 5, 2, 0.7, "pool_first")])
def test_branches_are_built_again_from_their_settings(head):
    again = rebuilt(node_of(head), load)
    again.load_state_dict(head.state_dict())
    features = torch.randn(4, 6)
    assert torch.equal(again.eval()(features), copy.deepcopy(head).eval()(features))


def test_the_bias_counts_once_for_each_branch_on_cifar_and_not_at_all_on_large_images():
    features = torch.randn(4, 6)
    for head, times in ((NormBranches(6, 5, 3), 3), (BlockBranches(6, 5, 3), 0)):
        before = head.eval()(features)
        head.linear.bias.data += 1
        torch.testing.assert_close(head(features) - before, torch.full((4, 5), float(times)))


@pytest.mark.parametrize("exponent", [-0.1, 1.5, float("nan")])
def test_an_exponent_out_of_range_is_refused(exponent):
    with pytest.raises(SettingError, match="norm_exponent"):
        BlockBranches(6, 5, 3, exponent)


def test_the_logits_of_branches_have_names():
    torch.manual_seed(0)
    features = torch.randn(5, 4)
    for head in (NormBranches(4, 3, 2).eval(), BlockBranches(4, 3, 2).eval()):
        named = head.named_logits(features)
        assert list(named) == ["branch0", "branch1"]
        torch.testing.assert_close(sum(named.values()), head(features))
