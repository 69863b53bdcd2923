"""Groups of parameters: rates by depth and for the head, no decay of bias and norm, groups of a method's own."""

import pytest
import torch
from helpers.engine_parts import FixedBatches, one_process, stage, training
from torch import nn
from torchvision.models import resnet18

from lt_bench.contracts import Batch, Method, ParameterGroup
from lt_bench.engine.loop import Trainer
from lt_bench.engine.parameter_groups import blocks, parameter_groups
from lt_bench.models.input_normalization import InputNormalization
from lt_bench.models.pool import InputPool
from lt_bench.models.resnet_cifar import resnet8_cifar
from lt_bench.models.tiny import TinyEncoder

BATCH = Batch((torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)),), torch.arange(8), torch.arange(8))


class Small(Method):
    views = ("plain",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = TinyEncoder(), nn.Linear(64, 5)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, batch, epoch, step, context):
        return {"loss": self.head(self.encoder(batch.views[0])).square().mean()}


class OwnGroups(Small):
    def parameter_groups(self):
        bias = [self.head.bias]
        others = [one for one in self.parameters() if one.requires_grad and one is not self.head.bias]
        return ParameterGroup("others", others), ParameterGroup("bias", bias, 3.0, 0.25)


def settings(**values):
    found = training(1, 8, momentum=0.0, weight_decay=0.1)
    for name, value in values.items():
        setattr(found, name, value)
    return found


def described(method, **values):
    """Factor and decay of every trained parameter by its name, and the number of groups."""
    groups = parameter_groups(method, settings(**values))
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    return {names[id(one)]: (group.lr_factor, group.weight_decay) for group in groups for one in group.parameters}


def test_by_default_there_is_one_group_in_the_order_of_the_parameters():
    method = Small()
    (group,) = parameter_groups(method, settings())
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert [id(one) for one in group.parameters] == [id(one) for one in trained]
    assert (group.lr_factor, group.weight_decay) == (1.0, None)


def test_bias_and_norm_may_have_no_decay():
    found = described(Small(), decay_bias_and_norm=False)
    for name, (factor, decay) in found.items():
        is_weight = name in (
            "encoder.layers.0.weight",
            "encoder.layers.3.weight",
            "encoder.layers.6.weight",
            "head.weight",
        )
        assert (factor, decay) == (1.0, None if is_weight else 0.0), name
    assert len(parameter_groups(Small(), settings(decay_bias_and_norm=False))) == 2


def test_rates_fall_with_the_depth_below_the_head():
    found = described(Small(), layer_decay=0.5, head_lr_factor=4.0)
    factors = {name: factor for name, (factor, _) in found.items()}
    assert factors == {
        **{f"encoder.layers.{place}.weight": rate for place, rate in ((0, 0.125), (1, 0.125), (3, 0.25), (4, 0.25))},
        **{f"encoder.layers.{place}.bias": rate for place, rate in ((1, 0.125), (4, 0.25), (7, 0.5))},
        **{f"encoder.layers.{place}.weight": 0.5 for place in (6, 7)},
        "head.weight": 4.0,
        "head.bias": 4.0,
    }


def names_of_blocks(encoder):
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    found = [{".".join(names[id(one)].split(".")[:2]) for one in own} for own in blocks(encoder)]
    assert sum(map(len, blocks(encoder))) == len(names)
    return [sorted(name.removesuffix(".weight").removesuffix(".bias") for name in own) for own in found]


def test_blocks_are_residual_ones_behind_wrappers_and_containers():
    network = resnet18()
    network.fc = nn.Identity()
    residual = [[f"layer{stage}.{place}"] for stage in (1, 2, 3, 4) for place in (0, 1)]
    assert [sorted(set(names)) for names in names_of_blocks(network)] == [["bn1", "conv1"], *residual]
    network.feature_dim = 512
    wrapped = InputPool(2, InputNormalization(network))
    assert [len(own) for own in blocks(wrapped)] == [len(own) for own in blocks(network)]
    assert names_of_blocks(resnet8_cifar()) == [["stem.0", "stem.1"], *([f"stages.{place}"] for place in (0, 1, 2))]


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.position, self.patches = nn.Parameter(torch.zeros(1, 2)), nn.Linear(2, 2)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(2, 1, 4) for _ in range(3)])
        self.norm = nn.LayerNorm(2)


def test_parameters_beside_the_blocks_are_nearest_to_the_images():
    encoder = Tokens()
    layer = len(list(encoder.layers[0].parameters()))
    assert [len(own) for own in blocks(encoder)] == [1, 2, layer, layer, layer + 2]
    assert blocks(encoder)[0][0] is encoder.position


def test_groups_of_a_methods_own_are_divided_further():
    found = described(OwnGroups())
    assert found["head.bias"] == (3.0, 0.25) and found["head.weight"] == (1.0, None)
    found = described(OwnGroups(), decay_bias_and_norm=False, head_lr_factor=2.0)
    assert (found["head.bias"], found["head.weight"]) == ((6.0, 0.0), (2.0, None))


def test_steps_have_the_rate_and_the_decay_of_their_group(tmp_path):
    method, source = OwnGroups(), FixedBatches([BATCH])
    trainer = Trainer(method, source, settings(), lambda *_: 0.1, one_process(source), stage(tmp_path))
    before = {name: value.clone() for name, value in method.named_parameters()}
    method.train()
    trainer._step(BATCH, 0, 0, 0.1)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.1, pytest.approx(0.3)]
    for name, value in method.named_parameters():
        rate, decay = (0.3, 0.25) if name == "head.bias" else (0.1, 0.1)
        if value.grad is not None:
            torch.testing.assert_close(value.detach(), before[name] - rate * (value.grad + decay * before[name]))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (
            lambda method: [ParameterGroup("head", list(method.head.parameters()))],
            r"encoder\.layers\.0\.weight is missing",
        ),
        (lambda method: [ParameterGroup("all", list(method.parameters()))], "one that is not trained is held"),
        (lambda method: 2 * list(Method.parameter_groups(method)), "one is held twice"),
    ],
)
def test_every_trained_parameter_is_in_one_group(groups, said):
    method = Small()
    method.parameter_groups = lambda: groups(method)
    with pytest.raises(ValueError, match=f"of Small hold every trained parameter once, but {said}"):
        parameter_groups(method, settings())
