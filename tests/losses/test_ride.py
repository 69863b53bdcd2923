"""RIDE's loss and its distillation against the authors' functions."""

import pytest
import torch
from helpers.golden_vectors import golden

from lt_bench.errors import SettingError
from lt_bench.losses.ldam import DeferredLDAM, ldam_margins
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.losses.ride import RideLoss, class_temperatures, distillation, divergences

CASES = [f"c{number}" for number in range(6)]
PRECISIONS = [(torch.float64, 1e-9, {"rtol": 1e-5, "atol": 2e-6}), (torch.float32, 2e-4, {"rtol": 2e-4, "atol": 1e-3})]


def of_case(case):
    """The loss of a case, whose constants are in double precision; without counts it is plain cross-entropy."""
    classes, plain = case["logits"].shape[2], "counts" not in case
    counts = torch.ones(classes).long() if plain else case["counts"]
    margin = 0.0 if plain else float(case["max_margin"])
    individual = DeferredLDAM(counts, margin, float(case["scale"]), 0.9999, int(case["reweight_epoch"]))
    values = [float(case[name]) for name in ("diversity_factor", "reweight_factor", "diversity_temperature")]
    loss = RideLoss(counts, individual, *values, joint_without_diversity=True).double()
    individual.margins.copy_(ldam_margins(counts, margin))
    individual.weights.weights.copy_(effective_number_weights(counts, 0.9999))
    loss.temperatures.copy_(class_temperatures(counts, values[1], values[2]))
    return loss


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "rtol", "arrays"), PRECISIONS)
def test_is_that_of_the_authors(name, dtype, rtol, arrays):
    case = golden("experts_ride_loss", name)
    loss, labels, epoch = of_case(case), case["labels"].long(), int(case["epoch_one_based"]) - 1
    logits = case["logits"].to(dtype).requires_grad_()
    found = loss(logits.transpose(0, 1), labels, epoch)
    torch.testing.assert_close(found.double(), case["loss"], rtol=rtol, atol=0.0)
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(gradient.double(), case["grad_logits"].double(), **arrays)
    begun = loss.individual.weights.begun(epoch)
    temperatures = loss.temperatures if begun else torch.full_like(loss.temperatures, loss.temperature)
    torch.testing.assert_close(temperatures, case["temperatures"].double(), rtol=1e-12, atol=0.0)
    apart = divergences(logits.detach().double().transpose(0, 1), temperatures).mean(0)
    torch.testing.assert_close(apart, case["kl"].double(), rtol=1e-9, atol=1e-12)


def test_summands_have_the_loss_as_their_mean_without_weights():
    case = golden("experts_ride_loss", "c0")
    loss, logits, labels = of_case(case), case["logits"].double().transpose(0, 1), case["labels"].long()
    rows = loss(logits, labels, 0, "none")
    assert rows.shape == labels.shape
    torch.testing.assert_close(rows.mean(), loss(logits, labels, 0))


def test_without_diversity_experts_have_losses_of_their_own_unless_joint():
    case = golden("experts_ride_loss", "c3")
    joint, logits, labels = of_case(case), case["logits"].double().transpose(0, 1), case["labels"].long()
    own = RideLoss(case["counts"], joint.individual, 0.0)
    epoch = int(case["epoch_one_based"]) - 1
    expected = sum(joint.individual(one, labels, epoch) for one in logits.unbind(1))
    torch.testing.assert_close(own(logits, labels, epoch), expected)
    assert abs(float(own(logits, labels, epoch) - joint(logits, labels, epoch))) > 0.01


@pytest.mark.parametrize("name", ["c0", "c1"])
def test_distillation_is_that_of_the_authors(name):
    case = golden("experts_ride_distill", name)
    logits = case["logits"].double().transpose(0, 1)
    found = distillation(logits, case["teacher"].double(), float(case["distill_temperature"])).mean()
    torch.testing.assert_close(found, case["distill_once"], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"diversity_factor": 0.1}, "diversity_factor is 0 or below"),
        ({"diversity_factor": -0.1, "reweight_factor": 1.0}, "reweight_factor is at least 0"),
        ({"diversity_factor": -0.1, "diversity_temperature": 0.0}, "diversity_temperature is above 0"),
    ],
)
def test_values_out_of_range_are_refused(values, said):
    counts = torch.tensor([5, 2])
    with pytest.raises(SettingError, match=said):
        RideLoss(counts, DeferredLDAM(counts, 0.5, 30.0, 0.9999, 0), **values)
