"""Mixing: traces of the authors' code, what it is without effect, and what is refused."""

import math
from functools import partial

import pytest
import torch
from helpers.engine_parts import Pictures, one_process
from helpers.golden_vectors import golden
from helpers.mixing_steps import as_drawn, follow

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.ce import CE
from lt_bench.methods.ce_drw import CEDRW
from lt_bench.methods.focal_supervised import FocalSupervised
from lt_bench.methods.ldam_drw import LDAMDRW
from lt_bench.methods.mixing import CMO, CutMix, MixUp, Remix, loss_and_accuracy
from lt_bench.methods.vs import VS

COUNTS = torch.tensor([12, 5, 3])
LABELS = torch.repeat_interleave(torch.arange(3), COUNTS)
IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1))
BATCH = Batch((IMAGES,), LABELS, torch.arange(20))
KINDS = [MixUp(), CutMix(), Remix(), CMO()]
METHODS = [CE, BalancedSoftmax, CEDRW, LDAMDRW, VS, FocalSupervised]


def built(kind, mixing=None, epochs=10, **settings):
    torch.manual_seed(0)
    return kind(Pictures(6), TrainInfo(LABELS, 3, epochs), mixing=mixing, **settings)


def prior(counts):
    return {"log_prior": (counts.double() / counts.sum()).log()}


def weights(counts):
    return {"weights.weights": effective_number_weights(counts, 0.9999)}


def test_cmo_trains_balanced_softmax_as_the_authors_code_does(tmp_path, monkeypatch):
    case = golden("mixing_step_cmo_balanced_softmax")
    as_drawn(monkeypatch, case)
    epochs = [int(case[f"s{number}_epoch"]) for number in range(int(case["steps"]))]
    follow("mixing_step_cmo_balanced_softmax", BalancedSoftmax, tmp_path, epochs, prior, mixing=CMO())


def test_cmo_trains_ce_drw_as_the_authors_code_does(tmp_path, monkeypatch):
    case = golden("mixing_step_cmo_ce_drw")
    as_drawn(monkeypatch, case)
    epochs = [int(case[f"s{number}_epoch"]) for number in range(int(case["steps"]))]
    follow("mixing_step_cmo_ce_drw", CEDRW, tmp_path, epochs, weights, mixing=CMO())


@pytest.mark.parametrize("file", ["mixing_step_cmo_balanced_softmax", "mixing_step_cmo_ce_drw"])
def test_the_window_of_cmo_is_that_of_the_authors_code(file):
    """Steps of epochs outside it are not mixed, whatever the coin says; inside it, the coin decides."""
    case, last = golden(file), int(golden(file)["total_epochs"])
    mixing = built(CE, CMO(start_epoch=4, last_plain_epochs=3), epochs=last).mixing
    for number in range(int(case["steps"])):
        epoch = int(case[f"s{number}_epoch"])
        active = 4 <= epoch < last - 3
        assert mixing.draw(epoch, number, one_process(None)).mixed == active
        assert bool(case[f"s{number}_mixed"]) == (active and float(case[f"s{number}_uniform"]) < 0.5)


def test_remix_trains_ce_drw_as_public_code_does(tmp_path, monkeypatch):
    case = golden("mixing_step_remix_drw")
    as_drawn(monkeypatch, case)

    def log_accuracy(method, step):
        method.encoder(step.batch.views[0])  # its running statistics move with it

    epochs = [int(case["epoch"])] * int(case["steps"])
    follow("mixing_step_remix_drw", CEDRW, tmp_path, epochs, weights, log_accuracy, mixing=Remix())


def test_mixup_trains_ce_as_stage_one_of_mislas_does(tmp_path, monkeypatch):
    case = golden("mixing_step_mislas_stage1")
    as_drawn(monkeypatch, case)
    epochs = [int(case["epoch"])] * int(case["steps"])
    follow("mixing_step_mislas_stage1", CE, tmp_path, epochs, mixing=MixUp())


def test_the_loss_of_remix_is_that_of_public_code():
    case = {key.partition("__")[2]: value for key, value in golden("mixing_mixes").items() if "remix_loss" in key}
    method = built(CEDRW, Remix(), drw_start_epoch=0)
    method.weights.weights = case["weights"].double()
    logits = case["logits"].double().requires_grad_()
    rows = (logits, case["labels_a"], case["labels_b"], case["label_lam"].double())
    loss = loss_and_accuracy(method.mixing, partial(method.loss, epoch=0), *rows)["loss"]
    torch.testing.assert_close(loss.detach(), case["loss"], rtol=1e-8, atol=0)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], case["grad"].double(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mixing", KINDS, ids=lambda mixing: type(mixing).__name__)
def test_an_epoch_that_is_not_mixed_is_that_of_the_method_bit_for_bit(method, mixing):
    later = type(mixing)(start_epoch=5)
    run, plain = one_process(None), built(method)
    mixed = built(method, later)
    batch = mixed.mixed(BATCH, 4, 0, run)
    terms, expected = mixed(batch, 4, 0, run), plain(BATCH, 4, 0, run)
    if isinstance(mixing, Remix):
        torch.testing.assert_close(terms["loss"], expected["loss"])  # a mean of images, in another order of sums
    else:
        assert torch.equal(terms["loss"], expected["loss"])
    assert torch.equal(terms["accuracy"], expected["accuracy"])
    assert mixed.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_for_single_images_is_the_numerator_of_the_mean(method):
    whole = built(method)
    logits = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for epoch in (0, 400):
        single = whole.loss(logits, LABELS, epoch, "none")
        weight = whole.weights(epoch) if hasattr(whole, "weights") else None
        weight = whole.criterion.weights(epoch) if method is LDAMDRW else weight
        plain = weight is None or method is FocalSupervised
        divisor = 20.0 if plain else weight.double()[LABELS].sum()
        torch.testing.assert_close(single.sum() / divisor, whole.loss(logits, LABELS, epoch))


@pytest.mark.parametrize("mixing", KINDS, ids=lambda mixing: type(mixing).__name__)
def test_images_and_labels_are_shared_alike(mixing):
    """Black images and white others: the share of white is what the label of the other has."""
    method, run = built(CE, mixing), one_process(None)
    black, white = torch.zeros(20, 3, 16, 16), torch.ones(20, 3, 16, 16)
    batch = Batch((black,), torch.zeros(20, dtype=torch.int64), torch.arange(20))
    partner = Batch((white,), torch.ones(20, dtype=torch.int64), torch.arange(20))
    if isinstance(mixing, CMO):
        assert method.needs_partner(3, 1, run) and method.partner_exponent == 1
        batch = batch._replace(partner=partner)
    else:
        half = torch.arange(20) % 2
        batch = batch._replace(views=(half[:, None, None, None].expand(20, 3, 16, 16).float(),), labels=half)
    for step in range(5):
        mixed = method.mixed(batch, 3, step, run)
        own, kept = batch.views[0][:, 0, 0, 0] * 0 + batch.labels, mixed.mix.kept
        assert mixed.partner is None and bool(((0 <= kept) & (kept <= 1)).all())
        if not isinstance(mixing, Remix):
            expected = kept * own + (1 - kept) * mixed.mix.labels
            torch.testing.assert_close(mixed.views[0].mean((1, 2, 3)), expected, atol=1e-6, rtol=0)


def test_draws_are_those_of_the_step():
    mixing, run = built(CE, MixUp()).mixing, one_process(None)
    assert mixing.draw(3, 4, run) == mixing.draw(3, 4, run) != mixing.draw(3, 5, run)
    assert sorted(mixing.partners(20, 3, 4, run).tolist()) == list(range(20))


def test_a_class_of_ones_own_whose_loss_weighs_no_images_takes_no_remix():
    class Own(CE):
        def loss(self, logits, labels, epoch):
            return super().loss(logits, labels, epoch)

    assert built(Own, MixUp()).mixing is not None
    with pytest.raises(SettingError, match="Own.loss has no reduction"):
        built(Own, Remix())


@pytest.mark.parametrize(
    ("kind", "setting"),
    [(MixUp, {"alpha": -1}), (MixUp, {"probability": 1.5}), (MixUp, {"start_epoch": -1}), (MixUp, {"alpha": math.nan}),
     (MixUp, {"last_plain_epochs": -1}), (Remix, {"kappa": 0.5}), (Remix, {"tau": 2}), (CutMix, {"box": "round"}),
     (CutMix, {"label_weight": "all"}), (CMO, {"partner_exponent": -1})],
)  # fmt: skip
def test_values_out_of_range_are_refused(kind, setting):
    (name,) = setting
    with pytest.raises(SettingError, match=name):
        kind(**setting)
