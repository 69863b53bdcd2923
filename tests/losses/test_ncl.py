"""NCL's loss against the authors' functions, and what it must be whatever the numbers are."""

import pytest
import torch
from helpers.golden_vectors import golden

from lt_bench.errors import DataError, SettingError
from lt_bench.losses.ncl import NCLLoss, NCLPlusLoss, disagreements, hardest

CASES = [f"c{number}" for number in range(5)]
PRECISIONS = [(torch.float64, 1e-9, {"rtol": 1e-5, "atol": 2e-6}), (torch.float32, 2e-4, {"rtol": 2e-4, "atol": 1e-4})]
COUNTS = torch.tensor([40, 20, 10, 6, 3, 2])
NAMES = ("factor", "factor_hard", "ce_ratio", "hard_ratio")


def of_case(case, fill="zero", **values):
    """The loss of a case, whose constants are in double precision."""
    values = {name: float(case[name]) for name in NAMES} | values
    loss = NCLLoss(case["counts"], int(case["hard_classes"]), fill, **values).double()
    loss.log_counts.copy_(case["counts"].double().log())
    return loss


def logits_of(classes=6, images=12, experts=3):
    return 2 * torch.randn(images, experts, classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


LABELS = torch.arange(12) % 6


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "rtol", "arrays"), PRECISIONS)
def test_is_that_of_the_authors(name, dtype, rtol, arrays):
    case = golden("experts_ncl_loss", name)
    logits, labels = case["logits"].to(dtype).requires_grad_(), case["labels"].long()
    found = of_case(case)(logits.transpose(0, 1), labels)
    torch.testing.assert_close(found.double(), case["loss"], rtol=rtol, atol=0.0)
    (gradient,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(gradient.double(), case["grad_logits"].double(), **arrays)


@pytest.mark.parametrize("name", CASES)
def test_each_term_is_that_of_the_authors(name):
    case, exact = golden("experts_ncl_loss", name), {"rtol": 1e-9, "atol": 1e-12}
    logits, labels = case["logits"].double().transpose(0, 1), case["labels"].long()
    nothing = dict.fromkeys(NAMES, 0.0)
    terms = {"factor": "distill", "factor_hard": "distill_hard", "ce_ratio": "ce_sum", "hard_ratio": "hard_ce_sum"}
    for term, expected in terms.items():
        found = of_case(case, **(nothing | {term: 1.0}))(logits, labels)
        torch.testing.assert_close(found, case[expected], **exact)
    restricted = of_case(case, "exclude", **(nothing | {"hard_ratio": 1.0}))(logits, labels)
    torch.testing.assert_close(restricted, case["hard_ce_sum_restricted"], **exact)
    chosen = hardest(logits, labels, int(case["hard_classes"]))
    mask = torch.zeros_like(logits[:, 0], dtype=torch.bool).scatter(1, chosen, True)
    assert torch.equal(mask, case["mask"]) and torch.equal(chosen[:, 0], labels)


@pytest.mark.parametrize("name", ["c0", "c1"])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_with_copies_it_is_that_of_the_authors(name, dtype, rtol):
    case = golden("experts_nclplus_loss", name)
    rows, copies, factor = case["logits"].to(dtype), int(case["copies"]), float(case["factor"])
    labels = case["labels"].long()[: rows.shape[1] // copies]
    logits = rows.unflatten(1, (copies, -1)).permute(2, 1, 0, 3).clone().requires_grad_()
    loss = NCLPlusLoss(case["counts"], int(case["hard_classes"]), "zero", factor, factor).double()
    loss.log_counts.copy_(case["counts"].double().log())
    found = loss(logits, labels)
    torch.testing.assert_close(found.double(), case["loss"], rtol=rtol, atol=0.0)
    (gradient,) = torch.autograd.grad(found, logits)
    # theirs has no gradient: 0 times the logarithm of 0, where the mask takes a class out
    assert bool(case["grad_logits"].isnan().all()) and bool(gradient.isfinite().all())
    torch.testing.assert_close(loss(logits, labels, "none").mean(), found)
    if dtype == torch.float64:
        direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
        ends = [loss(logits + step * direction, labels) for step in (-1e-5, 1e-5)]
        torch.testing.assert_close((gradient * direction).sum(), (ends[1] - ends[0]) / 2e-5, rtol=1e-5, atol=1e-8)


def test_one_copy_and_two_networks_have_no_other_disagreements_than_ncl():
    logits, plus = logits_of(experts=2), NCLPlusLoss(COUNTS, 3, factor_hard=0.0).double()
    expected = NCLLoss(COUNTS, 3, factor_hard=0.0).double()(logits, LABELS, "none")
    torch.testing.assert_close(plus(logits[:, None], LABELS, "none"), expected)


def test_disagreements_are_all_pairs_with_gradients_to_both():
    logits = logits_of().requires_grad_()
    log_shares = logits.log_softmax(2)
    shares = log_shares.exp()
    pairs = [
        (shares[:, j] * (log_shares[:, j] - (shares[:, i] + 1e-9).log())).sum(1)
        for i in range(3)
        for j in range(3)
        if i != j
    ]
    expected, found = torch.stack(pairs).sum(0) / 2, disagreements(log_shares).sum(1)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(one.sum(), logits, retain_graph=True)[0] for one in (found, expected)]
    torch.testing.assert_close(*gradients)
    same = log_shares[:, :1].expand(-1, 3, -1)
    torch.testing.assert_close(disagreements(same), torch.zeros(12, 6, dtype=torch.float64), rtol=0, atol=1e-7)
    assert bool((disagreements(log_shares[:, :1]) == 0).all())


@pytest.mark.parametrize("fill", ["exclude", "zero"])
def test_does_not_depend_on_the_order_of_images_classes_or_later_experts(fill):
    logits, loss = logits_of(), NCLLoss(COUNTS, 3, fill).double()
    rows = loss(logits, LABELS, "none")
    torch.testing.assert_close(rows.mean(), loss(logits, LABELS))
    order, classes = torch.arange(12).flip(0), torch.tensor([3, 5, 0, 1, 4, 2])
    torch.testing.assert_close(loss(logits[order], LABELS[order], "none"), rows[order])
    renamed = NCLLoss(COUNTS[classes], 3, fill).double()
    torch.testing.assert_close(renamed(logits[:, :, classes], classes.argsort()[LABELS], "none"), rows)
    torch.testing.assert_close(loss(logits[:, [0, 2, 1]], LABELS, "none"), rows)


def test_a_constant_in_the_logits_and_shares_for_counts_matter_only_where_zeros_are_filled_in():
    logits = logits_of()
    for fill, same in (("exclude", True), ("zero", False)):
        loss, scaled = NCLLoss(COUNTS, 3, fill).double(), NCLLoss(10 * COUNTS, 3, fill).double()
        expected = loss(logits, LABELS)
        for found in (loss(logits + 3, LABELS), scaled(logits, LABELS)):
            assert torch.allclose(found, expected, rtol=1e-6) == same


@pytest.mark.parametrize("fill", ["exclude", "zero"])
def test_all_classes_as_the_hardest_are_all_classes(fill):
    loss = NCLLoss(COUNTS, 6, fill, 0.6, 0.0, 1.0, 0.0).double()
    hard = NCLLoss(COUNTS, 6, fill, 0.0, 0.6, 0.0, 1.0).double()
    torch.testing.assert_close(loss(logits_of(), LABELS), hard(logits_of(), LABELS))


@pytest.mark.parametrize("fill", ["exclude", "zero"])
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_is_finite_in_bfloat16_with_extreme_logits_and_one_image(fill, scale):
    logits = (scale * logits_of()).bfloat16().requires_grad_()
    for images in (slice(None), slice(1)):
        loss = NCLLoss(COUNTS, 2, fill)(logits[images], LABELS[images])
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.dtype == torch.float32 and bool(loss.isfinite()) and bool(gradient.isfinite().all())


@pytest.mark.parametrize(
    ("hard", "values", "error", "said"),
    [
        (0, {}, SettingError, "hard_classes is from 1 to the 6 classes"),
        (7, {}, SettingError, "hard_classes is from 1 to the 6 classes"),
        (2, {"hard_fill": "none"}, SettingError, "hard_fill is exclude or zero"),
        (2, {"factor": -0.1}, SettingError, "factor is 0 or more"),
        (2, {"counts": torch.tensor([3, 0])}, DataError, "at least one training image"),
    ],
)
def test_values_out_of_range_are_refused(hard, values, error, said):
    with pytest.raises(error, match=said):
        NCLLoss(**({"counts": COUNTS, "hard_classes": hard} | values))
