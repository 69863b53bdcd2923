"""CB: a fresh linear classifier, balanced by the sampler, on the published schedule."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.class_aware import ClassAwareOrder
from lt_bench.engine.order import EpochOrder
from lt_bench.engine.random import derived_seed
from lt_bench.errors import SettingError
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


def test_the_classifier_starts_as_pytorch_makes_it_or_from_small_normal_weights_and_no_bias():
    info = TrainInfo(torch.arange(500), 500, 1)
    plain, small = (ClassBalanced(initial_std=std).build(Vectors(), None, info).classifier for std in (None, 0.01))
    assert plain.bias.any() and float(plain.weight.detach().abs().max()) > 0.3  # uniform to 8^-0.5
    assert abs(float(small.weight.detach().std()) / 0.01 - 1) < 0.1 and not small.bias.any()


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_a_spread_that_is_none_is_refused(std):
    with pytest.raises(SettingError, match="initial_std is null or positive"):
        ClassBalanced(initial_std=std)
