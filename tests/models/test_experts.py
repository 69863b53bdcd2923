"""Networks with several tails: the authors' sizes and outputs, what is shared, what starts anew, what is refused."""

import numpy as np
import pytest
import torch
from helpers.experts import by_expert, fill
from helpers.fingerprints import hashed, image_batch, sizes
from helpers.golden_vectors import FOLDER, golden
from torch import nn

from lt_bench.config.trust import load
from lt_bench.errors import SettingError
from lt_bench.methods.experts import Experts
from lt_bench.models.experts import ExpertEncoder, ExpertHeads, ExpertProjections
from lt_bench.models.heads import BiasedCosine, NormalizedLinear, ProjectionHead
from lt_bench.models.kept import keep, read
from lt_bench.models.pool import InputPool
from lt_bench.models.resnet import resnet10, resnet50, resnet152, resnext50_32x4d
from lt_bench.models.resnet_cifar import resnet8_cifar, resnet32_cifar
from lt_bench.models.tiny import TinyEncoder

RTOL = {"rtol": 1e-8, "atol": 0.0}
NETWORKS = np.load(FOLDER / "experts_networks.npz")
SMALL = [
    ("resnet32_reduced_cos_c10_k3", resnet32_cifar, 0.75, None, 32, 2),
    ("resnet32_full_linear_c10_k2", resnet32_cifar, 1.0, None, 32, 2),
]
LARGE = [
    ("resnet10_reduced_cos_c12_k3", resnet10, 0.75, None, 64, 2),
    ("resnet50_reduced_cos_c12_k2", resnet50, 0.75, None, 64, 1),
    ("resnet50_share3_full_linear_c12_k2", resnet50, 1.0, 3, 64, 1),
    ("resnext50_reduced_cos_c12_k2", resnext50_32x4d, 0.75, None, 224, 1),
]


def built(network, classes, experts, width=1.0, shared=None, cosine=True):
    encoder = ExpertEncoder(network(), experts, shared, width)
    features = encoder.feature_dim // experts
    head = NormalizedLinear(features, classes, 30.0) if cosine else nn.Linear(features, classes)
    return encoder, ExpertHeads(head, experts)


def of_name(name, network, width, shared):
    classes, experts = int(name.split("_c")[-1].split("_")[0]), int(name.split("_k")[-1])
    encoder, heads = built(network, classes, experts, width, shared, "_cos_" in name)
    fill(encoder, heads)
    return encoder, heads, experts


@pytest.mark.parametrize(
    ("name", "network", "width", "shared", "size", "count"),
    [*SMALL, *(pytest.param(*case, marks=pytest.mark.slow) for case in LARGE)],
)
def test_outputs_are_those_of_the_authors_networks(name, network, width, shared, size, count):
    encoder, heads, experts = of_name(name, network, width, shared)
    case = golden("experts_networks", f"{name}_eval")
    with torch.no_grad():
        features = encoder.eval()(image_batch(count, size))
        logits = heads(features), heads.expert_logits(features).transpose(0, 1)
    own = by_expert(features, experts)
    assert list(own.shape) == case["feat_shape"].tolist() and list(logits[1].shape) == case["shape"].tolist()
    torch.testing.assert_close(own[..., :6], case["feat_head"], **RTOL)
    torch.testing.assert_close(logits[1][..., :10], case["logits"], **RTOL)
    torch.testing.assert_close(logits[1].norm(), case["l2"], **RTOL)
    torch.testing.assert_close(logits[0], logits[1].mean(0))


@pytest.mark.parametrize(
    ("name", "network", "size", "count", "head"),
    [
        ("ncl_resnet32_linear_c10", resnet32_cifar, 32, 2, nn.Linear),
        pytest.param("ncl_resnet50_cos_c12", resnet50, 64, 1, BiasedCosine, marks=pytest.mark.slow),
    ],
)
def test_whole_networks_are_those_of_the_authors(name, network, size, count, head):
    encoder = ExpertEncoder(network(), 3, 0)
    heads = ExpertHeads(head(encoder.feature_dim // 3, int(name.split("_c")[-1])), 3)
    fill(encoder, heads)
    case = golden("experts_ncl_networks", name)
    with torch.no_grad():
        features = encoder.eval()(image_batch(count, size))
    logits = by_expert(heads.expert_logits(features).flatten(1), 3)
    torch.testing.assert_close(by_expert(features, 3)[..., :6], case["feat_head"], **RTOL)
    torch.testing.assert_close(logits[..., :10], case["logits"][..., :10], **RTOL)
    torch.testing.assert_close(logits.norm(), case["l2"], **RTOL)


def test_a_training_pass_is_the_authors_with_statistics_of_every_expert():
    encoder, heads, experts = of_name("resnet32_reduced_cos_c10_k3", resnet32_cifar, 0.75, None)
    case = golden("experts_networks", "resnet32_reduced_cos_c10_k3_train")
    with torch.no_grad():
        features = encoder.train()(image_batch(4, 32))
    torch.testing.assert_close(by_expert(features, experts)[..., :6], case["feat_head"], **RTOL)
    torch.testing.assert_close(heads.expert_logits(features).transpose(0, 1), case["logits"], **RTOL)
    torch.testing.assert_close(encoder.trunk.stem[1].running_mean, case["stem_running_mean"], **RTOL)
    last = torch.stack([tail[-1][-1].bn2.running_var[:8] for tail in encoder.tails])
    torch.testing.assert_close(last, case["last_running_var"], **RTOL)


KINDS = {
    "resnet32": resnet32_cifar,
    "resnet10": resnet10,
    "resnet50": resnet50,
    "resnext50": resnext50_32x4d,
    "resnet152": resnet152,
}


ALL = NETWORKS["names"].tolist()
QUICK = ("resnet32_c10_k3_reduced_cos", "resnet32_c10_k3_full_linear", "resnet50_c1000_k3_reduced_cos")


@pytest.mark.parametrize("name", [pytest.param(one, marks=() if one in QUICK else pytest.mark.slow) for one in ALL])
def test_numbers_of_parameters_are_those_of_the_authors(name):
    kind, classes, experts, *words = name.split("_")
    width = 0.75 if words[0] == "reduced" else 1.0
    with torch.device("meta"):
        shared = 3 if "share3" in words else None
        networks = built(KINDS[kind], int(classes[1:]), int(experts[1:]), width, shared, "cos" in words)
    own = [sum(numbers) for numbers in zip(*(sizes(network)[:2] for network in networks), strict=True)]
    place = ALL.index(name)
    assert own == [NETWORKS["params"][place], NETWORKS["buffers"][place]]


def test_experts_start_from_weights_of_their_own_or_copied_ones():
    plain = resnet8_cifar()
    weight = plain.stages[1][0].conv1.weight.clone()
    fresh, copied = Experts().applied(resnet8_cifar()), Experts(copied=True).applied(plain)
    assert all(torch.equal(tail[0][0].conv1.weight, weight) for tail in copied.tails)
    first, second = (tail[0][0].conv1.weight for tail in fresh.tails[:2])
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.std().item(), (2 / (16 * 9)) ** 0.5, rtol=0.05, atol=0)


@pytest.mark.parametrize("network", [resnet8_cifar, TinyEncoder])
@pytest.mark.parametrize("shared", [0, 2])
def test_one_expert_with_copied_weights_is_the_network_itself(network, shared):
    plain = network()
    images = hashed(0, (2, 3, 16, 16)).float()
    expected = plain(images)
    same = Experts(1, shared, copied=True).applied(plain)
    torch.testing.assert_close(same(images), expected)
    torch.testing.assert_close(same.maps(images).mean(dim=(2, 3)), expected)


def test_projections_are_those_of_a_head_on_the_features_of_each_expert():
    heads, features = [ProjectionHead(4, 4, 3) for _ in range(2)], hashed(0, (5, 8)).float()
    found = ExpertProjections(heads)(features)
    torch.testing.assert_close(found, torch.stack([heads[0](features[:, :4]), heads[1](features[:, 4:])], dim=1))


def test_gradients_of_an_expert_stay_with_it_and_reach_the_trunk():
    encoder = Experts(2).applied(resnet8_cifar())
    encoder(hashed(0, (2, 3, 8, 8)).float())[:, :64].sum().backward()
    own, other = ([bool(one.grad.any()) for one in tail.parameters()] for tail in encoder.tails)
    assert any(own) and not any(other)
    assert any(bool(one.grad.any()) for one in encoder.trunk.parameters())


@pytest.mark.parametrize("head", [nn.Linear, BiasedCosine])
def test_is_kept_and_built_again_behind_the_pooling_of_its_input(head, tmp_path):
    encoder = Experts(2, width=0.75).applied(InputPool(2, resnet8_cifar())).eval()
    heads = ExpertHeads.of([head(encoder.feature_dim // 2, 5) for _ in range(2)])
    own = {"_target_": "lt_bench.models.resnet_cifar.resnet8_cifar"}
    keep(tmp_path / "kept", encoder, heads, own, load, {})
    found = read(tmp_path / "kept", load)
    images = hashed(0, (2, 3, 8, 8)).float()
    torch.testing.assert_close(found.classifier(found.encoder(images)), heads(encoder(images)))


@pytest.mark.parametrize(
    ("network", "values", "said"),
    [
        (nn.Flatten, {}, "experts is null for a network without stages"),
        (resnet8_cifar, {"count": 0}, "experts.count is 1 or more"),
        (resnet8_cifar, {"shared_stages": 3}, "experts.shared_stages is from 0 to 2"),
        (resnet8_cifar, {"width": 0.7}, "experts.width is one that makes whole numbers of 32"),
        (resnet8_cifar, {"width": 33 / 32}, "experts.width is one with which 16 channels grow by an even number"),
        (resnet8_cifar, {"width": 0.75, "copied": True}, "experts.width is 1 with copied weights"),
        (resnet8_cifar, {"width": 0.75, "shared_stages": 0}, "experts.width is 1 with whole networks"),
        (resnext50_32x4d, {"width": 0.53125}, "experts.width is one that makes whole numbers of 512 channels in 32"),
    ],
)
def test_what_an_encoder_cannot_have_is_refused(network, values, said):
    with torch.device("meta"), pytest.raises(SettingError, match=said):
        Experts(**values).applied(network())


def test_heads_under_weights_keep_what_each_expert_says():
    torch.manual_seed(0)
    plain = ExpertHeads(NormalizedLinear(4, 3, 30.0), 3)
    heads = ExpertHeads.of([*plain.heads], [0.5, 0.25, 0.25])
    features = torch.randn(5, 12)
    named = heads.named_logits(features)
    assert list(named) == ["expert0", "expert1", "expert2", "mean"]
    together = 0.5 * named["expert0"] + 0.25 * (named["expert1"] + named["expert2"])
    torch.testing.assert_close(heads(features), together)
    torch.testing.assert_close(named["mean"], plain(features))
    assert heads.state_dict().keys() == plain.state_dict().keys()
    assert "weights" not in plain.settings() and heads.settings()["weights"] == [0.5, 0.25, 0.25]
