"""Synchronised batch norm: two processes against one with the joined batch, and what is turned into it."""

import copy

import pytest
import torch
from helpers.two_processes import on_two
from torch import nn

from lt_bench.models.sync_batch_norm import SyncBatchNorm, synchronise

SHAPES = [(7, 4), (6, 4, 5), (5, 4, 3, 3), (4, 4, 2, 3, 2)]
FIRST = 2  # rows of the first process, which has fewer than the second


def norms(shape, dtype=torch.float64):
    """With and without affine parameters, as a moving and as a plain average, without running statistics."""
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    options = ({}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}, {"eps": 0.3, "momentum": 0.4})
    made = [kind(shape[1], **one).to(dtype) for one in options]
    for norm in made:
        for number, parameter in enumerate(norm.parameters()):
            parameter.data += torch.arange(shape[1], dtype=dtype) * 0.3 + number
    return made


def batches(shape, dtype=torch.float64):
    """Three batches, not centred, and weights of the outputs that make a loss of no symmetry."""
    generator = torch.Generator().manual_seed(len(shape))
    rows, weights = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    return (3 + 2 * rows).to(dtype), weights.to(dtype)


def trained(norm, rows, weights):
    """Outputs and gradients of all steps, then the state."""
    found = {}
    for step, (given, weight) in enumerate(zip(rows, weights, strict=True)):
        given = given.clone().requires_grad_()
        outputs = norm(given)
        (outputs.square() * weight).sum().backward()
        found |= {f"outputs{step}": outputs.detach(), f"gradient{step}": given.grad}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in norm.named_parameters()}
    return {**found, **{f"state {key}": value.clone() for key, value in norm.state_dict().items()}}


def task(processes, folder):
    share = slice(FIRST) if processes.rank == 0 else slice(FIRST, None)
    found = []
    for shape in SHAPES:
        rows, weights = batches(shape)
        for norm in norms(shape):
            synchronise(norm)
            found.append(trained(norm, rows[:, share], weights[:, share]))
    return found


@pytest.mark.slow
def test_two_processes_with_unequal_shares_are_one_with_the_joined_batch():
    both = zip(*on_two(task), strict=True)
    for shape in SHAPES:
        rows, weights = batches(shape)
        for norm in norms(shape):
            alone, (first, second) = trained(norm, rows, weights), next(both)
            for key, value in alone.items():
                if key.startswith("state"):
                    torch.testing.assert_close(first[key], value)
                    assert torch.equal(first[key], second[key])
                elif key.startswith("gradient of"):  # the sum over processes
                    torch.testing.assert_close(first[key] + second[key], value)
                else:
                    torch.testing.assert_close(torch.cat([first[key], second[key]]), value)


def low_precision_task(processes, folder):
    rows, weights = batches((8, 4, 3, 3), torch.bfloat16)
    norm = nn.BatchNorm2d(4)
    synchronise(norm)
    share = slice(4 * processes.rank, 4 * processes.rank + 4)
    return trained(norm, [one[share].to(memory_format=torch.channels_last) for one in rows], weights[:, share])


@pytest.mark.slow
def test_statistics_of_rows_in_bfloat16_are_taken_in_single_precision():
    rows, weights = batches((8, 4, 3, 3), torch.bfloat16)
    alone = trained(nn.BatchNorm2d(4), rows, weights)
    exact = trained(nn.BatchNorm2d(4), rows.float(), weights.float())
    first, second = on_two(low_precision_task)
    assert first["outputs0"].dtype == first["gradient0"].dtype == torch.bfloat16
    assert first["gradient of weight"].dtype == torch.float32
    for key in ("state running_mean", "state running_var"):
        torch.testing.assert_close(first[key], exact[key])
    for key in ("outputs0", "gradient0"):
        torch.testing.assert_close(torch.cat([first[key], second[key]]), alone[key], rtol=0.02, atol=0.02)


def test_on_one_process_and_in_evaluation_it_is_the_norm_it_was():
    rows, weights = batches((5, 4, 3, 3))
    for norm in norms((5, 4, 3, 3)):
        plain = copy.deepcopy(norm)
        synchronise(norm)
        alone, same = trained(plain, rows, weights), trained(norm, rows, weights)
        assert alone.keys() == same.keys() and all(torch.equal(alone[key], same[key]) for key in alone)
        assert torch.equal(norm.eval()(rows[0]), plain.eval()(rows[0]))


def test_everything_but_what_is_replicated_is_turned_in_place():
    network = nn.ModuleDict(
        {
            "body": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm2d(4))),
            "same": nn.Sequential(nn.BatchNorm1d(2)),
        }
    )
    parts, keys = list(network.modules()), list(network.state_dict())
    synchronise(network, ("same",))
    assert list(network.modules()) == parts and list(network.state_dict()) == keys
    turned = [name for name, part in network.named_modules() if isinstance(part, SyncBatchNorm)]
    assert turned == ["body.1", "body.2.0"] and type(network["same"][0]) is nn.BatchNorm1d
    assert isinstance(copy.deepcopy(network)["body"][1], SyncBatchNorm)
    synchronise(network)  # once more: nothing is left to be refused


class Unknown(nn.BatchNorm2d):
    """A batch norm with a forward pass of its own."""

    def forward(self, input):
        return 2 * super().forward(input)


class Foreign(nn.modules.batchnorm._BatchNorm):
    """A batch norm from elsewhere."""


@pytest.mark.parametrize("norm", [Unknown(3), Foreign(3)])
def test_a_batch_norm_of_another_class_is_refused(norm):
    with pytest.raises(TypeError, match=f"layers.0: {type(norm).__name__}"):
        synchronise(nn.ModuleDict({"layers": nn.Sequential(norm)}))


def test_rows_without_channels_are_refused():
    norm = nn.BatchNorm1d(3)
    synchronise(norm)
    with pytest.raises(ValueError, match="expected rows"):
        norm(torch.zeros(3))
