"""The losses of experts against the authors' functions."""

import numpy as np
import pytest
import torch
from helpers.golden_vectors import FOLDER, golden

from lt_bench.errors import DataError, SettingError
from lt_bench.losses.experts import biased_cross_entropy, expert_taus, inverse_counts, log_shares, skill_biases

PRECISIONS = [(torch.float64, 1e-9, {"rtol": 1e-5, "atol": 2e-6}), (torch.float32, 2e-4, {"rtol": 2e-4, "atol": 1e-4})]


@pytest.mark.parametrize("case", [f"c{number}" for number in range(4)])
@pytest.mark.parametrize(("dtype", "rtol", "arrays"), PRECISIONS)
def test_balpoe_is_the_authors_mean_over_biased_experts(case, dtype, rtol, arrays):
    stored = golden("experts_balpoe_loss", case)
    bias = stored["taus"][:, None] * log_shares(stored["counts"])
    torch.testing.assert_close(bias, stored["bias"], rtol=1e-12, atol=0.0)
    logits, labels, mix = stored["logits"].to(dtype).requires_grad_(), stored["labels"].long(), float(stored["mix"])
    losses = []
    for own, share in ((labels, mix), (labels[stored["partner"].long()], 1 - mix)):
        rows = biased_cross_entropy(logits.transpose(0, 1), own, bias, "none")
        mean = biased_cross_entropy(logits.transpose(0, 1), own, bias)
        torch.testing.assert_close(rows.mean(), mean)
        losses.append(share * mean)
    torch.testing.assert_close(sum(losses).double(), stored["loss"], rtol=rtol, atol=0.0)
    (gradient,) = torch.autograd.grad(sum(losses), logits)
    torch.testing.assert_close(gradient.double(), stored["grad_logits"].double(), **arrays)


@pytest.mark.parametrize("case", [f"c{number}" for number in range(4)])
@pytest.mark.parametrize(("dtype", "rtol", "arrays"), PRECISIONS)
def test_sade_is_the_authors_sum_over_three_distributions(case, dtype, rtol, arrays):
    stored = golden("experts_sade_loss", case)
    counts = stored["counts"]
    torch.testing.assert_close(inverse_counts(counts) / counts.sum().double(), stored["inverse_prior"].double())
    bias = skill_biases(counts, float(stored["tau"]))
    torch.testing.assert_close(bias, stored["bias"].double(), rtol=1e-12, atol=1e-15)
    logits = stored["logits"].to(dtype).requires_grad_()
    loss = 3 * biased_cross_entropy(logits.transpose(0, 1), stored["labels"].long(), bias)
    torch.testing.assert_close(loss.double(), stored["loss"], rtol=rtol, atol=0.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient.double(), stored["grad_logits"].double(), **arrays)


def test_the_inverse_of_equal_classes_goes_by_their_numbers():
    assert inverse_counts(torch.tensor([9, 4, 4, 1])).tolist() == [1, 4, 4, 9]
    assert inverse_counts(torch.tensor([2, 2, 5])).tolist() == [5, 2, 2]


def test_taus_are_spread_as_in_the_authors_code():
    stored = np.load(FOLDER / "experts_balpoe_loss.npz")
    names = [name for name in stored.files if name.startswith(("limits_", "uniform_"))]
    for name in names:
        spread, count, least, most = name.split("_")
        found = expert_taus(int(count), float(least), float(most), spread)
        np.testing.assert_allclose(found, stored[name], rtol=1e-12, err_msg=name)
    assert len(names) == 7
    with pytest.raises(SettingError, match="spread is limits or uniform"):
        expert_taus(3, 0, 2, "even")


def test_a_class_without_images_has_no_share():
    with pytest.raises(DataError, match="at least one training image"):
        log_shares(torch.tensor([3, 0]))
