"""A training step of every method and trained rule: no host read, no kernel more for more images or classes."""

import itertools
from importlib import import_module
from pathlib import Path

import pytest
import torch
from benchmarks.harness import HostReads, OpCount
from helpers.chain import classifier_for, method_for, tiny, trained_rules
from helpers.sampling import each_value_once, methods_for

from lt_bench.augment.views import build_view
from lt_bench.config.compose import groups
from lt_bench.config.recipes import short_for
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import CachedFeatures, InMemoryImages
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Stage, Trainer
from lt_bench.errors import UsageError
from lt_bench.models.tiny import TinyEncoder
from lt_bench.run.build import build

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def compiler():
    """PyTorch's compiler is imported before the first step: an optimiser's step then calls the same in all of them."""
    import_module("torch._dynamo")


# options under which a step takes another way than by default
OTHER_WAYS = {
    **{
        name: ("fidelity=official",)
        for name in methods_for()
        if f"{short_for(name).get('method', name)}_official" in groups()["quirks"]
    },
    "tsc_moco": ("fidelity=official", "method.assign_every=null"),  # official: matched in every step, on the host
    "bcl": ("method.classifier=cosine", "method.own_class_denominator=size"),
}
FURTHER = [("gpaco", "method.bn_views=joint"), ("paco", "method.in_batch=local"), ("proco", "method.unseen=masked")]


def one_step(kind, name, tmp_path, epoch, batch_size=8, num_classes=10, words=()):
    config = tiny(tmp_path, "method=ce", f"{kind}={name}", "dataset=cifar10_lt", "stage_two=cb", *words)
    if kind == "stage_two":
        config = tiny(tmp_path, f"method={method_for(name)}", f"stage_two={name}", "dataset=cifar10_lt")
    labels = torch.arange(4 * batch_size) % num_classes  # no class is empty
    images = torch.randint(0, 256, (len(labels), 3, 32, 32), dtype=torch.uint8)
    source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
    source._branch_free = True  # as on a GPU
    info = TrainInfo(labels, num_classes, 20)
    encoder = TinyEncoder()
    if kind == "method":
        method, training = build(config.method, "method", encoder, info), config.train
    else:
        method = build(config.stage_two.parameters(), "stage_two").build(
            encoder, classifier_for(name, encoder.feature_dim, num_classes), info
        )
        training = config.stage_two.train
    if method.views == ("features",):
        source = CachedFeatures(torch.randn(len(labels), encoder.feature_dim), labels)
    training.batch_size, training.epochs = batch_size, 20
    run = EngineContext(Processes(0, 1, CPU), 0, source)
    stage = Stage("stage", Path(tmp_path), "c.pt", config.budget, config.checkpoint, False)
    trainer = Trainer(method, source, training, build(training.schedule, "train.schedule"), run, stage)
    method.train()
    trainer.means.add(trainer._step(next(trainer.batches(epoch)), epoch, 0, 0.1), 0)  # momentum is allocated
    with HostReads() as reads, OpCount() as kernels:  # also of an epoch's data, which are made together
        trainer.means.add(trainer._step(next(trainer.batches(epoch)), epoch, 1, 0.1), 1)
    return reads.found, kernels.count


EPOCHS = (0, 15)


def check_steps(kind, name, tmp_path, epoch):
    """A step reads nothing and calls as many kernels for more images and for more classes."""
    reads, kernels = one_step(kind, name, tmp_path, epoch)
    assert reads == []
    assert one_step(kind, name, tmp_path, epoch, batch_size=24) == ([], kernels)
    assert one_step(kind, name, tmp_path, epoch, num_classes=30) == ([], kernels)


@pytest.mark.parametrize(
    ("method", "epoch"), each_value_once(itertools.product(methods_for(), EPOCHS), of_families=True)
)
def test_a_method_has_no_host_read_and_no_loop_over_images_or_classes(method, epoch, tmp_path):
    check_steps("method", method, tmp_path, epoch)


@pytest.mark.parametrize(("rule", "epoch"), each_value_once(itertools.product(trained_rules(), EPOCHS)))
def test_a_rule_has_no_host_read_and_no_loop_over_images_or_classes(rule, epoch, tmp_path):
    check_steps("stage_two", rule, tmp_path, epoch)


WAYS = [*OTHER_WAYS.items(), *((name, (word,)) for name, word in FURTHER)]


@pytest.mark.parametrize(("name", "words"), each_value_once(WAYS, of_families=True))
def test_no_host_read_under_other_options(name, words, tmp_path):
    reads, kernels = one_step("method", name, tmp_path, 15, words=words)
    assert reads == []
    assert one_step("method", name, tmp_path, 15, batch_size=24, words=words) == ([], kernels)


def test_the_pairs_are_not_empty():
    with pytest.raises(UsageError):
        tiny(Path("unused"), "method=nothing")
    assert len(trained_rules()) >= 3
