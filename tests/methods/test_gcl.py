"""GCL: the authors' trace of stage one, and what it is without noise."""

import torch
from helpers.engine_parts import Pictures, one_process
from helpers.golden_vectors import golden
from helpers.mixing_steps import as_clouded, as_drawn, follow

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.gaussian_cloud import cloud_sizes
from lt_bench.methods.ce import CE
from lt_bench.methods.gcl import GCL
from lt_bench.methods.mixing import MixUp
from lt_bench.models.heads import NormalizedLinear

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([12, 5, 3]))
BATCH = Batch((torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(20))


def built(kind=GCL, **settings):
    torch.manual_seed(0)
    return kind(Pictures(6), TrainInfo(LABELS, 3, 10), **settings)


class Cosine(CE):
    """Cross-entropy of scaled cosines."""

    def new_classifier(self, features, num_classes):
        return NormalizedLinear(features, num_classes, 30.0)


def test_trains_as_the_authors_code_does(tmp_path, monkeypatch):
    file, case = "mixing_step_gcl_stage1", golden("mixing_step_gcl_stage1")
    as_drawn(monkeypatch, case)
    as_clouded(monkeypatch, case)
    epochs = [int(case[f"s{number}_epoch"]) for number in range(int(case["steps"]))]
    sizes = lambda counts: {"clouds.sizes": cloud_sizes(counts)}  # noqa: E731
    follow(file, GCL, tmp_path, epochs, sizes, mixing=MixUp(), eval_scale=30.0)


def test_without_noise_it_is_cross_entropy_of_scaled_cosines():
    run = one_process(None)
    plain, clear = built(Cosine), built(cloud=0.0)
    assert torch.equal(clear(BATCH, 0, 0, run)["loss"], plain(BATCH, 0, 0, run)["loss"])
    assert clear.state_dict().keys() == plain.state_dict().keys()


def test_noise_is_that_of_the_step_and_gone_at_test_time():
    run, method = one_process(None), built()
    losses = [method(BATCH, 0, step, run)["loss"].item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    logits = method.eval().classifier(method.encoder(BATCH.views[0]))
    assert torch.equal(logits, method.classifier(method.encoder(BATCH.views[0])))
    assert bool((logits.abs() <= 30.0001).all())


def test_own_and_others_labels_have_noise_of_their_own():
    """An image mixed with itself has two losses, of two draws of noise."""
    run, method = one_process(None), built(mixing=MixUp())
    mixed = method.mixed(BATCH, 0, 0, run)
    losses = set()
    for kept in (0.5, 1.0):
        mix = mixed.mix._replace(labels=LABELS, kept=torch.full((20,), kept))
        losses.add(method(mixed._replace(views=BATCH.views, mix=mix), 0, 0, run)["loss"].item())
    assert len(losses) == 2
