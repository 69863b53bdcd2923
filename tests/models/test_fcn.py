"""Heads for pixels against the fingerprints of the authors' heads, and encoders with larger maps."""

import numpy as np
import pytest
import torch
from helpers.fingerprints import fill_hashed, hashed, sizes
from helpers.golden_vectors import golden

from lt_bench.errors import SettingError
from lt_bench.models.fcn import FCN, Auxiliary, TwoPassFCN
from lt_bench.models.maps import stage_maps
from lt_bench.models.resnet import resnet50
from lt_bench.models.tiny import TinyEncoder


def test_the_head_with_a_second_pass_is_that_of_the_authors():
    case = golden("region_rebalance_networks", "fcn")
    shape = tuple(case["input_shapes"][0].tolist())
    head = fill_hashed(TwoPassFCN(shape[1], int(case["channels"]), int(case["num_classes"]))).eval()
    for layer in (head.branch[0], head.branch[2]):  # convolutions of one place there
        layer.weight.data *= 2**0.5
    head.conv_seg.bias.data = head.branch[2].bias.data[: len(head.conv_seg.bias)].clone()
    found = head(hashed(7000, shape)).detach()
    torch.testing.assert_close(found, case["eval_logits"], rtol=1e-6, atol=1e-8)
    assert sizes(head)[2] == int(case["parameters"])


@pytest.mark.parametrize("classes", [150, 171])
def test_full_size_heads_have_the_published_numbers_of_parameters(classes):
    case = golden("region_rebalance_networks", "count")
    with torch.device("meta"):
        head, auxiliary, plain = TwoPassFCN(2048, 512, classes), Auxiliary(1024, 256, classes), FCN(2048, 512, classes)
    assert sizes(head)[0] == int(case[f"fcn_2048_512_c{classes}"])
    assert sizes(head.branch)[0] == int(case[f"region_branch_512_c{classes}"])
    assert sizes(head)[0] - sizes(plain)[0] == sizes(head.branch)[0]
    assert sizes(auxiliary)[0] == int(case[f"auxiliary_1024_256_c{classes}"])


def test_a_dilated_network_has_the_parameters_of_the_plain_one_and_larger_maps():
    with torch.device("meta"):
        plain, dilated = resnet50(), resnet50(output_stride=8)
        shapes = [maps.shape for maps in stage_maps(dilated, torch.zeros(1, 3, 65, 100))]
    assert [tuple(shape) for shape in shapes] == [(1, 256, 17, 25), (1, 512, 9, 13), (1, 1024, 9, 13), (1, 2048, 9, 13)]
    assert [(n, p.shape) for n, p in plain.named_parameters()] == [(n, p.shape) for n, p in dilated.named_parameters()]
    dilations = [conv.dilation[0] for name, conv in dilated.named_modules() if name.endswith("conv2")]
    assert dilations[-9:] == [1, 2, 2, 2, 2, 2, 2, 4, 4]
    with pytest.raises(SettingError, match="output_stride"):
        resnet50(output_stride=4)


def test_other_encoders_have_their_last_maps_alone():
    images = torch.rand(2, 3, 16, 16)
    (maps,) = stage_maps(TinyEncoder(), images)
    assert np.prod(maps.shape[2:]) == 16
