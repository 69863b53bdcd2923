"""SDCLR: one backward pass for two, masks over a run, several processes."""

import pytest
import torch
from helpers.engine_parts import CPU, LABELS, Constant, FixedBatches, Noisy, Vectors, one_process, stage, training
from helpers.two_processes import on_two
from torch import nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.errors import UsageError, keyed
from lt_bench.methods.harmonization import HarmonizationSettings
from lt_bench.methods.sdclr import SDCLR
from lt_bench.methods.simclr import SimCLR
from lt_bench.models.input_normalization import IMAGENET_MEAN, IMAGENET_STD
from lt_bench.models.pruned import PrunedBranch
from lt_bench.models.tiny import TinyEncoder
from lt_bench.stage_two.cb import ClassBalanced

IMAGES = torch.randn(26, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(kind=SDCLR, encoder=TinyEncoder, **options):
    torch.manual_seed(0)
    return kind(encoder(), TrainInfo(LABELS, 3, 5), **({"projection_dim": 5} | options)).double()


def batch_of(indices, seed=0):
    noise = torch.randn(2, len(indices), 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Batch(tuple(IMAGES[indices] + 0.3 * one for one in noise), LABELS[indices], indices)


def run_of(batch, seed=0):
    return one_process(FixedBatches([batch]), seed)


def losses_of(method, batch):
    return method(batch, 0, 0, run_of(batch))["loss"]


def gradients_of(method, batch):
    names, parameters = zip(*method.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(losses_of(method, batch), parameters), strict=True))


BATCH = batch_of(torch.arange(12))


def started(**options):
    """A method at the start of its first epoch, with masks."""
    method = build(**options)
    method.on_epoch_start(0, run_of(BATCH))
    return method


def test_the_gradient_is_that_of_the_authors_two_halves():
    """Each view's backward pass with the other view's embeddings held constant, then both gradients together."""
    method, twice = started(), started(pruned_bn_updates=2)
    gradients = gradients_of(method, BATCH)
    first, second = BATCH.views
    with torch.no_grad():
        constant = twice.embed_pruned(second)
    dense = twice.embed(first)
    twice.image_losses(dense, constant).mean().backward()
    twice.image_losses(dense.detach(), twice.embed_pruned(second)).mean().backward()
    for name, parameter in twice.named_parameters():
        torch.testing.assert_close(
            gradients[name], parameter.grad, rtol=1e-9, atol=1e-12, msg=lambda t, n=name: f"{n}: {t}"
        )
    again = started(pruned_bn_updates=2)
    losses_of(again, BATCH)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in twice.state_dict().items())


def test_two_updates_change_the_pruned_running_averages_and_nothing_else():
    once, twice = started(), started(pruned_bn_updates=2)
    fresh = once.state_dict()["pruned_encoder.norms.1.running_mean"].clone()
    first, second = gradients_of(once, BATCH), gradients_of(twice, BATCH)
    assert all(torch.equal(gradient, second[name]) for name, gradient in first.items())
    left, right = once.state_dict(), twice.state_dict()
    for name, value in left.items():
        doubled = name.startswith("pruned") and name.endswith(("mean", "var", "tracked"))
        assert torch.equal(value, right[name]) != doubled, name
    name = "pruned_encoder.norms.1.running_mean"
    torch.testing.assert_close(right[name] - fresh, (2 - 0.1) * (left[name] - fresh))  # momentum 0.1, the same batch


def test_without_pruning_the_loss_is_that_of_simclr():
    """And the gradients are, but that those of batch norms are shared out between two copies."""
    plain, method = build(SimCLR), started(prune_percent=0.0)
    torch.testing.assert_close(losses_of(method, BATCH), losses_of(plain, BATCH), rtol=1e-12, atol=0)
    expected, found = gradients_of(plain, BATCH), gradients_of(method, BATCH)
    for branch, part in (("pruned_encoder", method.pruned_encoder), ("pruned_head", method.pruned_head)):
        for number, place in enumerate(part.norm_places):
            for name in ("weight", "bias"):
                whole = f"{branch.removeprefix('pruned_')}.{place}.{name}"
                found[whole] = found[whole] + found.pop(f"{branch}.norms.{number}.{name}")
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-10)


def test_only_the_second_view_sees_the_masks():
    method, unmasked = started(), started(prune_percent=0.0)
    first, second = method.embed_views(BATCH)
    dense, whole = unmasked.embed_views(BATCH)
    assert torch.equal(first, dense)
    assert not torch.allclose(second, whole)
    assert all(torch.equal(value, unmasked.encoder.state_dict()[n]) for n, value in method.encoder.state_dict().items())


def masks_after(method, run, epoch):
    method.on_epoch_start(epoch, run)
    return torch.cat([mask.flatten() for mask in method.pruned_encoder.masks()]).clone()


def test_masks_are_those_of_the_weights_at_the_start_of_every_epoch():
    method, run = build(), run_of(BATCH)
    before = masks_after(method, run, 0)
    assert len(before) == 3 * 9 * 16 + 9 * 16 * 32 + 9 * 32 * 64
    assert int(before.sum()) == len(before) - -(-9 * len(before) // 10)
    with torch.no_grad():
        for weight in method.pruned_encoder.weights(method.encoder):
            weight.copy_(weight.flip(0))
    losses_of(method, BATCH)
    assert torch.equal(torch.cat([mask.flatten() for mask in method.pruned_encoder.masks()]), before)
    assert not torch.equal(masks_after(method, run, 1), before)
    assert int(before.sum()) == int(masks_after(method, run, 1).sum())


def test_the_random_part_is_a_function_of_seed_and_epoch():
    options = {"prune_percent": 0.7, "random_prune_percent": 0.2}
    run = run_of(BATCH)
    masks = masks_after(build(**options), run, 0)
    assert 1 - masks.float().mean() == pytest.approx(0.7, abs=0.01)
    assert torch.equal(masks_after(build(**options), run, 0), masks)
    assert not torch.equal(masks_after(build(**options), run, 1), masks)
    assert not torch.equal(masks_after(build(**options), run_of(BATCH, seed=1), 0), masks)
    assert int(masks_after(build(prune_percent=0.7), run, 0).sum()) == len(masks) - -(-7 * len(masks) // 10)


def test_masks_are_in_the_state():
    method, fresh = started(), build()
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(losses_of(fresh, BATCH), losses_of(method, BATCH))


def test_images_are_normalised_a_second_time_in_both_branches_and_for_stage_two():
    method, twice = started(), started(double_normalisation=True)
    mean, std = (torch.tensor(values).double()[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    by_hand = BATCH._replace(views=tuple((view - mean) / std for view in BATCH.views))
    torch.testing.assert_close(losses_of(twice, BATCH), losses_of(method, by_hand))
    features = method.eval().encoder(by_hand.views[0])
    torch.testing.assert_close(twice.eval().encoder(BATCH.views[0]), features)


@pytest.mark.parametrize("branch", ["dense", "pruned"])
def test_stage_two_builds_on_the_branch_that_is_asked_for(branch):
    method = started(evaluated_branch=branch)
    losses_of(method, BATCH)
    rule = ClassBalanced(augment=False).build(method.evaluated_encoder(), None, TrainInfo(LABELS, 3, 5))
    images, method = BATCH.views[0], method.eval()
    dense, pruned = method.encoder(images), method.pruned_encoder(method.encoder, images)
    assert not torch.allclose(dense, pruned)
    assert torch.equal(rule.train().encoder(images), dense if branch == "dense" else pruned)
    assert rule.classifier.in_features == 64
    assert any("mask" in name for name in rule.state_dict()) == (branch == "pruned")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"evaluated_branch": "both"}, "dense or pruned, not 'both'; set method.evaluated_branch=dense"),
        ({"prune_percent": 1.5}, "method.prune_percent is from 0 to 1, not 1.5; set method.prune_percent=0.9"),
        (
            {"prune_percent": 0.1, "random_prune_percent": 0.2},
            "random_prune_percent is .* at most .* 0.1, not 0.2; set method.random_prune_percent=0",
        ),
        ({"pruned_bn_updates": 3}, "1 or 2, not 3; set method.pruned_bn_updates=1"),
        ({"view_batching": "joint"}, "method.view_batching=separate"),
        ({"encoder": Vectors}, "has none"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(UsageError, match=words), keyed("method"):
        build(**options)


# two processes


class Convolution(nn.Module):
    """Without batch norm, so that a batch may be shared out without a difference."""

    feature_dim = 6

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 6, 3)

    def forward(self, images):
        return self.layer(images).tanh().mean(dim=(2, 3))


class Plain(SDCLR):
    smallest_share = 1

    def __init__(self, encoder, info, **options):
        super().__init__(encoder, info, **options)
        self.head = nn.Linear(6, 5)
        self.pruned_head = PrunedBranch(self.head)


def train(processes, folder):
    """The state after sixteen steps, and all losses."""
    harmonization = HarmonizationSettings(warm_epochs=2, ramp_epochs=2, target_dim=4)
    options = {"prune_percent": 0.6, "random_prune_percent": 0.2, "harmonization": harmonization}
    method, losses = build(Plain, Convolution, **options), []
    plain = method.image_losses
    method.image_losses = lambda *words: losses.append(plain(*words)) or losses[-1]
    run = EngineContext(processes, 3, Noisy(IMAGES, LABELS, scale=0.3))
    # 26 images in batches of 8: the last batch of 2 is shared out too
    Trainer(
        method,
        Noisy(IMAGES, LABELS, scale=0.3),
        training(4, 8, lr=0.05, momentum=0.9),
        Constant(0.05),
        run,
        stage(folder),
    ).fit()
    return {**method.state_dict(), "losses": torch.cat([loss.detach() for loss in losses])}


def task(processes, folder):
    own = folder / f"rank{processes.rank}"
    own.mkdir()
    return train(processes, own)


@pytest.mark.slow
def test_two_processes_train_as_one_on_the_joined_batch(tmp_path):
    """Losses, masks, memory, and the weights that sixteen gradients lead to."""
    alone = train(Processes(0, 1, CPU), tmp_path)
    assert len(alone["losses"]) == 4 * 26
    for found in on_two(task):
        assert found.keys() == alone.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, alone[name], rtol=1e-9, atol=1e-10, msg=lambda t, n=name: f"{n}: {t}")


def normed_task(processes, folder):
    (folder / f"rank{processes.rank}").mkdir()
    method, run = build(), EngineContext(processes, 3, Noisy(IMAGES, LABELS, scale=0.3))
    settings = training(2, 8, lr=0.05, momentum=0.9)
    Trainer(
        method, Noisy(IMAGES, LABELS, scale=0.3), settings, Constant(0.05), run, stage(folder / f"rank{processes.rank}")
    ).fit()
    return method.state_dict()


@pytest.mark.slow
def test_both_processes_end_with_the_same_masks_and_running_averages():
    first, second = on_two(normed_task)
    assert any(name.startswith("pruned_head.norms") for name in first)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
