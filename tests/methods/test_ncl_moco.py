"""NCL with its contrastive part: the authors' trace, the order of a step, and what is official in it."""

import numpy as np
import pytest
import torch
from helpers.chain import of_method
from helpers.engine_parts import FixedBatches, one_process
from helpers.experts import follow
from helpers.fingerprints import hashed, sizes
from helpers.golden_vectors import FOLDER, golden

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.methods.experts import Experts
from lt_bench.methods.ncl import NCL
from lt_bench.methods.ncl_moco import NCLMoCo
from lt_bench.models.resnet import resnet50, resnet152
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.validate import validate

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([12, 5, 3]))
INFO = TrainInfo(LABELS, 3, 10)
BATCH = Batch(
    torch.randn(2, 20, 3, 8, 8, generator=torch.Generator().manual_seed(1)).unbind(), LABELS, torch.arange(20)
)
RUN = one_process(FixedBatches([BATCH]))
OPTIONS = {"queue_size": 30, "projection_dim": 5}


def built(kind=NCLMoCo, experts=None, **values):
    torch.manual_seed(0)
    return kind(TinyEncoder(), INFO, experts=experts or Experts(2, 0), **values).train()


def test_trains_as_the_authors_code_does(tmp_path):
    case = golden("experts_step_ncl_moco")
    size, dim = int(case["queue_size"]), int(case["dim"])
    rows = [torch.nn.functional.normalize(hashed(77000 + 1000 * number, (size, dim)), dim=1) for number in range(3)]
    buffers = {"criterion.log_counts": case["counts"].double().log(), "queue.rows": torch.cat(rows, dim=1)}
    options = {"queue_size": size, "projection_dim": dim, "temperature": float(case["temperature"])}
    options |= {"momentum": float(case["ema"]), "official_keys": True, "hard_share": 0.5, "hard_fill": "zero"}

    def check(method, step, terms):
        torch.testing.assert_close(method.queue.rows[:, :6], case[f"s{step}_queue0"], rtol=1e-5, atol=2e-6)
        assert method.queue.pointer == case[f"s{step}_pointer"]
        for number in range(3) if step == 2 else ():
            own = method.queue.rows[:, dim * number :][:, :dim]
            torch.testing.assert_close(own[0], case[f"final_queue_head_{number}"], rtol=1e-5, atol=2e-6)
        supervised = terms["loss"] - terms["contrast"]
        torch.testing.assert_close(supervised, case[f"s{step}_loss_supervised"], rtol=1e-7, atol=0.0)

    follow("experts_step_ncl_moco", NCLMoCo, tmp_path, buffers, shared_stages=0, check=check, **options)


def test_copies_embed_first_and_follow_then_once_with_their_heads():
    method = built(**OPTIONS)
    with torch.no_grad():
        for parameter in (*method.encoder.parameters(), *method.head.parameters()):
            parameter.mul_(1.1)
    pairs = ((method.momentum_encoder, method.encoder), (method.momentum_head, method.head))
    before = [[one.clone() for one in copy.parameters()] for copy, _ in pairs]
    keys = method.momentum_head(method.momentum_encoder(BATCH.views[1]))
    found = method(BATCH, 0, 0, RUN)
    torch.testing.assert_close(method.queue.rows[:20], keys.flatten(1))
    for (copy, source), old in zip(pairs, before, strict=True):
        for own, new, was in zip(source.parameters(), copy.parameters(), old, strict=True):
            torch.testing.assert_close(new, 0.999 * was + 0.001 * own)
    found["loss"].backward()
    assert all(one.grad is None for copy, _ in pairs for one in copy.parameters())
    assert all(bool(one.grad.any()) for one in method.parameters() if one.requires_grad)


def test_the_contrast_is_the_sum_over_networks_of_finding_the_own_key_among_it_and_the_queue():
    method = built(**OPTIONS)
    queue = method.queue.rows.clone()
    queries = method.head(method.encoder(BATCH.views[0]))
    keys = method.momentum_head(method.momentum_encoder(BATCH.views[1]))
    scores = [
        torch.cat([(q * k).sum(1, keepdim=True), q @ past.T], dim=1) / 0.2
        for q, k, past in zip(queries.unbind(1), keys.unbind(1), queue.chunk(2, dim=1), strict=True)
    ]
    first = torch.zeros(20, dtype=torch.int64)
    expected = sum(torch.nn.functional.cross_entropy(one, first) for one in scores)
    torch.testing.assert_close(method(BATCH, 0, 0, RUN)["contrast"], expected)


def test_without_the_weight_of_the_contrast_it_is_ncl():
    plain = built(NCL, views=["crop_flip"])
    found, expected = built(contrast_weight=0.0, **OPTIONS)(BATCH, 0, 0, RUN), plain(BATCH, 0, 0, RUN)
    torch.testing.assert_close(found["loss"], expected["loss"])
    assert found["contrast"] > 1


@pytest.mark.parametrize(("official", "copied"), [(False, False), (True, False), (True, True)])
def test_copies_start_as_copies_and_officially_anew(official, copied):
    method = built(experts=Experts(2, 0, copied=copied), official_keys=official, **OPTIONS)
    same = [
        all(torch.equal(own, one) for own, one in zip(source.parameters(), copy.parameters(), strict=True))
        for copy, source in ((method.momentum_encoder, method.encoder), (method.momentum_head, method.head))
    ]
    assert same == [not official or copied, not official]
    assert method.momentum_encoder.momentum == pytest.approx(0.999**2 if official else 0.999)


STORED = np.load(FOLDER / "experts_ncl_networks.npz")
NETWORKS = {"resnet32": resnet32_cifar, "resnet50": resnet50, "resnet152": resnet152}


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if "resnet32" in one else pytest.mark.slow) for one in STORED["names"].tolist()],
)
def test_numbers_of_parameters_are_those_of_the_authors(name):
    place = STORED["names"].tolist().index(name)
    _, network, classes, *words = name.split("_")
    count = int(classes[1:])
    with torch.device("meta"):
        encoder = NETWORKS[network]()
    options = {"classifier": "cosine" if "cos" in words else "linear", "experts": Experts(3, 0)}
    if moco := [word.removeprefix("moco") for word in words if word.startswith("moco")]:
        options |= {"queue_size": 4, "projection_dim": int(moco[0])}
    method = (NCLMoCo if moco else NCL)(encoder, TrainInfo(torch.arange(count), count, 10), **options)
    total, _, trained = sizes(method)
    assert [total, trained] == [STORED["params"][place], STORED["params_trainable"][place]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"views": ["crop_flip"]}, "views is a list of two views"),
        ({"temperature": 0.0}, "temperature is above 0"),
        ({"contrast_weight": -1.0}, "contrast_weight is 0 or more"),
        ({"queue_size": 0}, "queue_size is at least one entry"),
        ({"projection_dim": 0}, "projection_dim is at least one output"),
        ({"momentum": 1.0}, "momentum is at least 0 and below 1"),
    ],
)
def test_values_out_of_range_are_refused(values, said):
    with pytest.raises(SettingError, match=said):
        built(**values)


def test_the_recipe_of_places_is_the_authors():
    config = validate(compose(["method=ncl_moco", "dataset=places_lt"]))
    values = of_method(config, "queue_size", "projection_dim", "temperature", "contrast_weight", "views")
    assert values == [65536, 1024, 0.2, 1.0, ["sim_always", "sim_always"]]
    assert (config.method["experts"]["copied"], config.backbone["pretrained"]) == (True, "torchvision")
