"""Whole methods against the published networks: every size and output stored in bcl_paco_backbones."""

from typing import Any, NamedTuple

import pytest
import torch
from helpers.fingerprints import SIZES, assert_fingerprint, fill_hashed, image_batch, sizes
from torch import nn

from lt_bench.contracts import Method, TrainInfo
from lt_bench.methods.bcl import BCL
from lt_bench.methods.gpaco import GPaCo
from lt_bench.methods.paco import PaCo
from lt_bench.methods.proco import ProCo
from lt_bench.models import resnet
from lt_bench.models.pretrained import freeze_convolutions
from lt_bench.models.resnet_cifar import resnet32_cifar, resnet50_cifar


class Network(NamedTuple):
    """A method on an encoder with a number of classes."""

    method: type[Method]
    encoder: Any
    classes: int
    options: dict[str, Any] = {}

    def build(self, device="meta"):
        """By default without memory, for counting."""
        info = TrainInfo(torch.arange(self.classes), self.classes, epochs=1)
        with torch.device(device):
            return self.method(self.encoder(), info, **self.options)


COSINE = {"classifier": "cosine", "projection_hidden": None, "projection_dim": 1024}
QUEUE = {"projection_dim": 128, "queue_size": 8192}
LARGE_IMAGES = [
    ("resnet50", resnet.resnet50, 1000),
    ("resnet50", resnet.resnet50, 8142),
    ("resnext50", resnet.resnext50_32x4d, 1000),
    ("resnext50", resnet.resnext50_32x4d, 8142),
]
LONG_TAILED = [
    ("resnet50", resnet.resnet50, 1000),
    ("resnext50_32x4d", resnet.resnext50_32x4d, 1000),
    ("resnext101_32x4d", resnet.resnext101_32x4d, 1000),
    ("resnet50", resnet.resnet50, 8142),
    ("resnet152", resnet.resnet152, 365),
]
BALANCED = [("resnet50", resnet.resnet50), ("resnet101", resnet.resnet101), ("resnet200", resnet.resnet200)]
TWO_BRANCH = {
    **{f"bcl_{name}_c{classes}": Network(BCL, encoder, classes, COSINE) for name, encoder, classes in LARGE_IMAGES},
    **{f"proco_{name}_c{classes}": Network(ProCo, encoder, classes, COSINE) for name, encoder, classes in LARGE_IMAGES},
    **{
        f"proco_resnet32_c{classes}_{kind}": Network(ProCo, resnet32_cifar, classes, {"classifier": kind})
        for classes in (10, 100)
        for kind in ("linear", "cosine")
    },
}
PACO = {
    "paco_resnet32_c100": Network(PaCo, resnet32_cifar, 100, {"projection_dim": 32, "queue_size": 1024}),
    **{f"paco_{name}_c{classes}": Network(PaCo, encoder, classes, QUEUE) for name, encoder, classes in LONG_TAILED},
}
# the authors' code for balanced ImageNet is written anew and has no momentum copy of the classifier
PACO_BALANCED = {f"paco_full_{name}": Network(PaCo, encoder, 1000, QUEUE) for name, encoder in BALANCED}
GPACO = {
    "gpaco_resnet32_c100": Network(GPaCo, resnet32_cifar, 100, {"projection_dim": 32, "queue_size": 1024}),
    "gpaco_cifar_resnet50_c100": Network(GPaCo, resnet50_cifar, 100, {"projection_dim": 128, "queue_size": 1024}),
    **{f"gpaco_{name}_c{classes}": Network(GPaCo, encoder, classes, QUEUE) for name, encoder, classes in LONG_TAILED},
}
EQUAL = {**TWO_BRANCH, **PACO_BALANCED, **GPACO}


def network_sizes(method):
    """Sizes without the log prior and ProCo's class statistics, which the authors' codes keep outside of networks."""
    parameters, buffers, trainable = sizes(method)
    outside = [method.log_prior, *([method.means, method.counts] if isinstance(method, ProCo) else [])]
    return parameters, buffers - sum(buffer.numel() for buffer in outside), trainable


def test_every_stored_size_is_compared():
    encoders = {name for name in SIZES if name.startswith("plain_") or name.endswith("_encoder")}
    parts = {"paco_resnet32_c100_encoder_q", "paco_resnet152_c365_places_frozen"}
    assert set(SIZES) == encoders | parts | set(EQUAL) | set(PACO)
    assert len(SIZES) == 39


@pytest.mark.parametrize("name", EQUAL)
def test_sizes(name):
    assert network_sizes(EQUAL[name].build()) == SIZES[name]


@pytest.mark.parametrize("name", PACO)
def test_sizes_of_paco_but_for_an_unused_copy(name):
    method = PACO[name].build()
    found, (unused, *_) = network_sizes(method), sizes(method.classifier)
    # the authors' code has a momentum copy of the classifier, too, and never uses it
    assert (found[0] + unused, *found[1:]) == SIZES[name]


def test_sizes_of_parts_of_paco():
    method = PACO["paco_resnet32_c100"].build()
    assert sizes(nn.Sequential(method.encoder, method.head)) == SIZES["paco_resnet32_c100_encoder_q"]
    # on Places-LT all convolutions but those of the last bottleneck stay as they were pretrained
    method = PACO["paco_resnet152_c365"].build()
    freeze_convolutions(method.encoder, ["layer4.2"])
    assert sizes(method)[2] == SIZES["paco_resnet152_c365_places_frozen"][2]


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_outputs_of_proco(kind):
    name = f"proco_resnet32_c10_{kind}"
    method = fill_hashed(TWO_BRANCH[name].build("cpu")).eval()
    features = method.encoder(image_batch(2, 32))
    assert_fingerprint(name, method.head(features), method.classifier(features))


@pytest.mark.parametrize(
    ("name", "count"), [("paco_resnet32_c100", 2), ("gpaco_resnet32_c100", 2), ("gpaco_cifar_resnet50_c100", 1)]
)
def test_outputs_of_paco_and_gpaco(name, count):
    method = fill_hashed({**PACO, **GPACO}[name].build("cpu")).eval()
    features = method.encoder(image_batch(count, 32))
    assert_fingerprint(name, method.classifier(features), method.head.layers(features))


def test_outputs_of_bcl():
    method = fill_hashed(Network(BCL, resnet.resnet50, 12, COSINE).build("cpu")).eval()
    features = method.encoder(image_batch(2, 64))
    assert_fingerprint("bcl_resnet50_c12", method.head(features), method.classifier(features), method.prototypes())
