"""Gradients are the same bits every time, with several threads (exact resume rests on it) and under autocast."""

import pytest
import torch
import torch.nn.functional as F

from lt_bench.losses.bcl import balanced_contrastive
from lt_bench.losses.focal import focal_nt_xent
from lt_bench.losses.gpaco_multitask import gpaco_multitask
from lt_bench.losses.kcl import k_positives_in_batch
from lt_bench.losses.kcl_moco import k_positive
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.losses.proco import contrastive_logits
from lt_bench.losses.queue import Anchors
from lt_bench.losses.sbcl import subclass_balancing
from lt_bench.losses.sbcl_moco import queue_subclass_balancing
from lt_bench.losses.simclr import nt_xent
from lt_bench.losses.supcon import supcon
from lt_bench.losses.tsc import Targets, targeted
from lt_bench.losses.tsc_moco import targeted_in_queue

CLASSES = 10
GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.randint(CLASSES, (512,), generator=GENERATOR)
FEATURES = F.normalize(torch.randn(512, 2, 128, generator=GENERATOR), dim=2).requires_grad_()
PROTOTYPES = F.normalize(torch.randn(CLASSES, 128, generator=GENERATOR), dim=1)
LOGITS, PRIOR = torch.randn(512, CLASSES, generator=GENERATOR), torch.zeros(CLASSES)
SUBCLASSES = 10 * LABELS + torch.randint(10, (512,), generator=GENERATOR)
ROWS, ROW_LABELS = FEATURES.transpose(0, 1).flatten(0, 1), LABELS.repeat(2)
DRAWS = torch.rand(6, 512, generator=GENERATOR)
BOTH_DRAWS = DRAWS.repeat(1, 2)
ANCHORS, SAME = Anchors(FEATURES[:, 0], PROTOTYPES[LABELS], ROWS.detach()), LABELS[:, None] == ROW_LABELS
TARGETS = Targets(PROTOTYPES, torch.arange(CLASSES), 0.2)

LOSSES = {
    "supcon": lambda: supcon(FEATURES, LABELS, 0.1, 0.1),
    "bcl": lambda: balanced_contrastive(FEATURES, PROTOTYPES, LABELS, 0.1),
    "sbcl": lambda: subclass_balancing(FEATURES, LABELS, SUBCLASSES, 0.1, torch.full((CLASSES,), 0.1), 0.25, 0.07),
    "proco": lambda: contrastive_logits(ROWS, PROTOTYPES, torch.full((CLASSES,), 50.0), 0.1).square().mean(),
    "nt_xent": lambda: nt_xent(*FEATURES.unbind(1), 0.2).mean(),
    "focal": lambda: focal_nt_xent(*FEATURES.unbind(1), 0.2, 2.0).mean(),
    "paco": lambda: paco(LOGITS, ROWS, ROW_LABELS, PRIOR, PaCoSettings(0.05, 0.01)),
    "gpaco_multitask": lambda: gpaco_multitask(LOGITS, ROWS, ROW_LABELS, PRIOR, torch.ones(CLASSES), 0.07, 0.5),
    "kcl": lambda: k_positives_in_batch(FEATURES, LABELS, BOTH_DRAWS, 0.07),
    "tsc": lambda: targeted(FEATURES, LABELS, BOTH_DRAWS, 0.07, TARGETS),
    "kcl_moco": lambda: k_positive(ANCHORS, LABELS, ROW_LABELS, DRAWS, 0.07, "distinct"),
    "tsc_moco": lambda: targeted_in_queue(ANCHORS, LABELS, ROW_LABELS, DRAWS, 0.07, TARGETS),
    "k_positive": lambda: k_positive(ANCHORS, LABELS, ROW_LABELS, DRAWS, 0.07),
    "sbcl_moco": lambda: queue_subclass_balancing(ANCHORS, SAME, SAME, 0.07, PRIOR[LABELS] + 0.12, 0.2, 0.07),
}


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_the_same_bits_every_time(name, four_threads):
    first, *others = (torch.autograd.grad(LOSSES[name](), FEATURES, retain_graph=True)[0] for _ in range(20))
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_inside_a_loss_is_in_reduced_precision(name):
    expected = torch.autograd.grad(LOSSES[name](), FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name]()
    assert loss.dtype == torch.float32
    assert torch.equal(torch.autograd.grad(loss, FEATURES)[0], expected[0])
