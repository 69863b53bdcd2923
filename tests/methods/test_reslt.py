"""ResLT: the authors' traces through the trainer, its rates and recipes, and the encoders that it takes."""

import copy

import numpy as np
import pytest
import torch
from helpers.engine_parts import Constant, FixedBatches, Identity, Vectors, one_process, stage
from helpers.fingerprints import fill_hashed, hashed
from helpers.golden_vectors import FOLDER, golden

from lt_bench.config.compose import compose
from lt_bench.config.schema import Training
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.errors import SettingError
from lt_bench.launch.planning.plan import expand
from lt_bench.methods.reslt import ResLT
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate

LOSS = {"rtol": 1e-9, "atol": 0.0}
ARRAY = {"rtol": 1e-5, "atol": 2e-6}
EPSILON = 1e-7
INFO = TrainInfo(torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2])), 3, 10)


class Maps(Identity):
    """Stands for an encoder: what goes in are its maps."""

    def maps(self, images):
        return images

    def forward(self, images):
        return images.mean(dim=(2, 3))


def trained(case, method, labels, tmp_path):
    """The method after the steps of a trace, whose losses and logits are compared; gradients after the first step."""
    size, width = int(case["batch_size"]), int(case["feature_dim"])
    names = [f"s{number}" for number in range(int(case["steps"]))]
    batches = []
    for number, name in enumerate(names):
        images = 2 * hashed(int(case["input_offset"]) + 100000 * number, (size, width, 3, 3))
        batches.append(Batch((images,), case[f"{name}_labels"], torch.arange(size)))
    optimizer = {key: float(case[key]) for key in ("momentum", "weight_decay")} | {"nesterov": bool(case["nesterov"])}
    settings = Training(epochs=200, batch_size=size, lr=0.1, optimizer=optimizer)
    source = FixedBatches(batches, labels)
    trainer = Trainer(method, source, settings, lambda _: Constant(0.1), one_process(source), stage(tmp_path))
    method.train()
    gradients = {}
    for number, (name, batch) in enumerate(zip(names, batches, strict=True)):
        seen = batch.views[0] if method.block != "pool_first" else method.encoder(batch.views[0])
        with torch.no_grad():
            logits = copy.deepcopy(method.classifier).branch_logits(seen).transpose(0, 1)
        if "cols" in case:
            torch.testing.assert_close(logits.flatten(1).norm(dim=1), case[f"{name}_logits_l2"][: len(logits)], **ARRAY)
            expected, logits = case[f"{name}_logits_cols"], logits[..., case["cols"]]
        else:
            expected = case[f"{name}_logits"]
        torch.testing.assert_close(logits, expected[: len(logits)].double(), **ARRAY)
        terms = trainer._step(batch, number, number, float(case[f"{name}_lr"]))
        for term, stored in (("loss", "loss"), ("branch_loss", "loss_branch"), ("fusion_loss", "loss_fusion")):
            torch.testing.assert_close(terms[term], case[f"{name}_{stored}"], **LOSS)
        if number == 0:
            gradients = {key: value.grad.clone() for key, value in method.classifier.named_parameters()}
    return gradients


def evaluated(case, method):
    """Features of the images that are evaluated at the end of a trace."""
    method.eval()
    return method.encoder(2 * hashed(int(case["input_offset"]) + 9_000_000, (4, int(case["feature_dim"]), 3, 3)))


def branches(case, beginning, name):
    """What a trace stores of each of the three branches on CIFAR."""
    return torch.stack([case[f"{beginning}__BN{branch}__{name}"] for branch in "HMT"])


def test_trains_as_the_authors_code_does_on_cifar(tmp_path):
    case = golden("reslt_step_cifar")
    labels = torch.repeat_interleave(torch.arange(10), torch.arange(10, 0, -1))
    method = ResLT(
        Maps(int(case["feature_dim"])),
        TrainInfo(labels, 10, 200),
        branch_weight=float(case["beta"]),
        shares=[0.8, 0.6],
        log_epsilon=EPSILON,
    ).double()
    head = method.classifier
    assert torch.equal(method.sets.int().argmax(1), case["first_class"])
    for name in ("weight", "bias"):
        head.get_parameter(name).data.copy_(branches(case, "init", name))
        head.linear.get_parameter(name).data.copy_(case[f"init__linear__{name}"])
    gradients = trained(case, method, labels, tmp_path)
    for name in ("weight", "bias"):
        torch.testing.assert_close(gradients[name], branches(case, "s0_grad", name), **ARRAY)
        torch.testing.assert_close(gradients[f"linear.{name}"], case[f"s0_grad__linear__{name}"], **ARRAY)
        torch.testing.assert_close(head.get_parameter(name), branches(case, "final", name), **ARRAY)
        torch.testing.assert_close(head.linear.get_parameter(name), case[f"final__linear__{name}"], **ARRAY)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        for one in branches(case, "final", name):  # all three are alike
            torch.testing.assert_close(head.norm.get_buffer(name), one, **ARRAY)
    features = evaluated(case, method)
    torch.testing.assert_close(head.branch_logits(features).transpose(0, 1), case["eval_logits"], **ARRAY)
    torch.testing.assert_close(head(features), case["eval_logits"].sum(0), **ARRAY)


@pytest.mark.parametrize(
    "file", ["reslt_step_imagenet_block_first", "reslt_step_imagenet_pool_first", "reslt_step_inat"]
)
def test_trains_as_the_authors_code_does_on_large_images(file, tmp_path):
    case = golden(file)
    classes, used = int(case["num_classes"]), int(case["num_branches"])
    labels = torch.arange(classes)  # as many images of each: the rank of a class is its label
    method = ResLT(
        Maps(int(case["feature_dim"])),
        TrainInfo(labels, classes, 200),
        branch_weight=float(case["beta"]),
        shares=(case["class_below"][1:] / classes).tolist(),
        block="block_first" if case["block_before_pool"] else "pool_first",
        norm_exponent=float(case["gamma"]),
        log_epsilon=EPSILON,
        fusion_epsilon=used == 3,
    )
    assert torch.equal(method.sets.sum(1), case["class_below"])
    head, columns = fill_hashed(method.classifier), case["cols"]
    head.norm.reset_running_stats()
    gradients = trained(case, method, labels, tmp_path)
    channels = used * int(case["feature_dim"])
    names = {"convolution.weight": "finalBlock__0__weight"}
    names |= {f"norm.{name}": f"finalBlock__1__{name}" for name in ("weight", "bias")}
    for own, name in names.items():  # theirs has a third branch without a gradient on iNaturalist
        torch.testing.assert_close(gradients[own], case[f"s0_grad__{name}"][:channels], **ARRAY)
        torch.testing.assert_close(gradients[own].norm(), case[f"s0_gradl2__{name}"], **ARRAY)
        torch.testing.assert_close(head.get_parameter(own), case[f"final__{name}"][:channels], **ARRAY)
    for name in ("weight", "bias"):
        gradient, value = gradients[f"linear.{name}"], head.linear.get_parameter(name)
        torch.testing.assert_close(gradient[columns], case[f"s0_grad__fc__{name}"], **ARRAY)
        torch.testing.assert_close(gradient.norm(), case[f"s0_gradl2__fc__{name}"], **ARRAY)
        torch.testing.assert_close(value[columns], case[f"final__fc__{name}"], **ARRAY)
        torch.testing.assert_close(value.norm(), case[f"final_l2__fc__{name}"], **ARRAY)
    for name in ("running_mean", "running_var"):
        expected = case[f"final__finalBlock__1__{name}"][:channels]
        torch.testing.assert_close(head.norm.get_buffer(name), expected, **ARRAY)
    features = evaluated(case, method)
    logits = head.branch_logits(features).transpose(0, 1)
    torch.testing.assert_close(logits[..., columns], case["eval_logits_cols"][:used], **ARRAY)
    torch.testing.assert_close(logits.flatten(1).norm(dim=1), case["eval_logits_l2"][:used], **ARRAY)
    assert torch.equal(head(features).argmax(1), case["eval_sum_argmax"])


def config(*words):
    return validate(compose(["method=reslt", *words]))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dataset=cifar100_lt"], "cifar_200"),
        (["dataset=imagenet_lt"], "imagenet_180_lr01"),
        (["dataset=imagenet_lt", "train.lr=0.05"], "imagenet_180_lr005"),
        (["dataset=inat18"], "inat_200"),
        (["dataset=inat18", "train.schedule.span=open", "train.schedule.warm_epochs=5"], "inat_ride_200"),
    ],
)
def test_rates_are_the_authors(words, name):
    train = config(*words).train
    schedule, expected = build(train.schedule, "train.schedule"), np.load(FOLDER / "reslt_lr.npz")[name]
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(train.epochs)], expected, rtol=2e-5)


def test_recipes_of_cifar_are_the_authors_scripts():
    weights = {}
    for words in expand(["experiment=reslt_cifar"]):
        found = validate(compose(words))
        weights[found.dataset.name, found.imbalance.factor] = found.method["branch_weight"]
        train = found.train
        assert (train.epochs, train.batch_size, train.lr, train.drop_last) == (200, 128, 0.1, True)
        assert (train.optimizer["weight_decay"], train.optimizer["nesterov"]) == (5e-4, True)
        assert found.method["shares"] == ([0.8, 0.6] if found.dataset.name == "cifar10_lt" else [0.65, 0.3])
    ten, hundred = {100: 0.998, 50: 0.998, 10: 0.96}, {100: 0.995, 50: 0.99, 10: 0.72}
    table = {"cifar10_lt": ten, "cifar100_lt": hundred}
    assert weights == {(name, factor): value for name, own in table.items() for factor, value in own.items()}


def test_every_network_on_imagenet_lt_has_its_script():
    table = {}
    for words in expand(["experiment=reslt_imagenet_lt"]):
        found = validate(compose(words))
        values = found.train.batch_size, found.train.lr, found.method["block"], found.method["norm_exponent"]
        table[found.backbone["name"]] = values
        assert found.train.optimizer["nesterov"] is False
    assert table == {
        "resnet10": (256, 0.1, "pool_first", 0.3),
        "resnext50_32x4d": (256, 0.1, "block_first", 0.7),
        "resnext101_32x4d": (128, 0.05, "block_first", 0.7),
    }


def test_official_has_the_authors_epsilon():
    words = ["dataset=imagenet_lt", "fidelity=official"]
    assert config(*words).method["log_epsilon"] == EPSILON and "log_epsilon" not in config(*words[:1]).method
    both = ResLT(TinyEncoder(), INFO, log_epsilon=EPSILON, fusion_epsilon=True)
    assert (both.log_epsilon, both.fusion_log_epsilon) == (EPSILON, EPSILON)
    assert ResLT(TinyEncoder(), INFO, log_epsilon=EPSILON).fusion_log_epsilon == 0.0


def test_an_encoder_without_maps_is_refused_unless_it_pools_first():
    for block in ("norm", "block_first"):
        with pytest.raises(SettingError, match="pool_first with Vectors, whose features are no mean of maps"):
            ResLT(Vectors(), INFO, block=block)
    batch = Batch((torch.randn(28, 6),), INFO.labels, torch.arange(28))
    assert bool(ResLT(Vectors(), INFO, block="pool_first")(batch, 0, 0, one_process(None))["loss"].isfinite())


@pytest.mark.parametrize("name", ["branch_weight", "log_epsilon", "smoothing"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        ResLT(TinyEncoder(), INFO, **{name: value})


def test_another_block_is_refused():
    with pytest.raises(SettingError, match="block"):
        ResLT(TinyEncoder(), INFO, block="convolution")
