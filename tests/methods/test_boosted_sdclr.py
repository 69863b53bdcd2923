"""Boosted SDCLR: SDCLR's loss and masks with boosted contrastive learning's memory and strengths."""

import torch
from helpers.engine_parts import FixedBatches, one_process
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.simclr import nt_xent
from lt_bench.methods.boosted_sdclr import BoostedSDCLR
from lt_bench.methods.sdclr import SDCLR
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

INFO = TrainInfo(torch.zeros(10, dtype=torch.int64), 1, 3)
VIEWS = torch.randn(2, 10, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def built(kind=BoostedSDCLR, **settings):
    torch.manual_seed(0)
    return kind(TinyEncoder(), INFO, **settings)


def batch(indices):
    return Batch(tuple(VIEWS[:, indices]), INFO.labels[indices], indices)


def test_the_step_is_sdclrs_and_its_losses_are_remembered():
    given = batch(torch.tensor([7, 2, 3, 9, 0]))
    run, losses = one_process(FixedBatches([given])), {}
    for kind in (SDCLR, BoostedSDCLR):
        method = built(kind, **({"loss_memory_batch_correction": False} if kind is BoostedSDCLR else {}))
        method.on_epoch_start(0, run)
        losses[kind] = method(given, 0, 0, run)["loss"]
    assert torch.equal(losses[SDCLR], losses[BoostedSDCLR])
    assert method.loss_memory.seen.nonzero().flatten().tolist() == [0, 2, 3, 7, 9]
    torch.testing.assert_close(method.loss_memory.losses[given.indices].mean(), losses[SDCLR].detach())
    fresh = built()
    fresh.on_epoch_start(0, run)
    assert not torch.allclose(nt_xent(*(fresh.embed(view) for view in given.views), 0.2).mean(), losses[SDCLR])


def test_masks_and_strengths_are_renewed_at_the_start_of_an_epoch():
    method, given = built(), batch(torch.arange(10))
    run = one_process(FixedBatches([given]))
    method.on_epoch_start(0, run)
    masks = [mask.clone() for mask in method.pruned_encoder.masks()]
    method(given, 0, 0, run)
    with torch.no_grad():
        next(module for module in method.encoder.modules() if isinstance(module, nn.Conv2d)).weight.mul_(100)
    assert not method.strength().any()
    method.on_epoch_start(1, run)
    assert abs(method.strength().mean() - 0.5) < 1e-6 and method.strength().std() > 0.1
    assert any(not torch.equal(old, new) for old, new in zip(masks, method.pruned_encoder.masks(), strict=True))


def test_the_config_builds_it_with_the_options_of_both():
    words = ["method.prune_percent=0.3", "method.loss_momentum=0.5"]
    config = validate(compose(["method=boosted_sdclr", "recipe=none", *words]))
    method = build(config.method, "method", TinyEncoder(), INFO)
    assert isinstance(method, BoostedSDCLR) and method.views == ("boosted_twice", "boosted_twice")
    assert (method.prune_percent, method.loss_memory.momentum) == (0.3, 0.5)
