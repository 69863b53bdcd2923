"""CB: a fresh linear classifier, balanced by the sampler, on the published schedule."""

import torch
from helpers.engine_parts import Vectors, one_process
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.class_aware import ClassAwareOrder
from lt_bench.engine.order import EpochOrder
from lt_bench.engine.random import derived_seed
from lt_bench.preflight.validate import validate
from lt_bench.stage_two.cb import ClassBalanced

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))


def test_the_loss_is_plain_cross_entropy_on_a_fresh_linear_classifier():
    old = nn.Linear(8, 3)
    method = ClassBalanced(augment=False).build(Vectors(), old, TrainInfo(LABELS, 3, 1))
    assert isinstance(method.classifier, nn.Linear) and method.classifier is not old
    features = torch.randn(28, 8)
    loss = method(Batch((features,), LABELS, torch.arange(28)), 0, 0, one_process(None))["loss"]
    torch.testing.assert_close(loss, nn.functional.cross_entropy(method.classifier(features), LABELS))


def test_its_recipe_is_class_aware_for_45_epochs():
    training = validate(compose(["dataset=cifar100_lt"])).stage_two.train
    assert training is not None
    assert (training.epochs, training.batch_size, training.sampler) == (45, 128, "class_aware")


def test_the_engine_visits_classes_equally_and_n_max_times_c_images():
    class Seed:
        seed, device = 7, torch.device("cpu")

    order = EpochOrder(LABELS, "class_aware", Seed())
    epochs = [order(epoch) for epoch in range(3)]
    assert len(order) == len(epochs[0]) == 60
    visits = torch.bincount(LABELS[epochs[0]], minlength=3)
    assert visits.max() - visits.min() <= 4
    expected = ClassAwareOrder(LABELS.numpy(), derived_seed(7, "class_aware"))
    assert epochs[2].tolist() == expected.epoch(2).tolist()
