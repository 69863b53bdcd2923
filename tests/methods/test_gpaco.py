"""GPaCo: one network for both views, batch-norm statistics per view or joint, recipe and quirks."""

import pytest
import torch
from helpers.chain import of_method
from helpers.engine_parts import FixedBatches, one_process
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.losses.paco import PaCoSettings, paco
from lt_bench.methods.gpaco import GPaCo
from lt_bench.preflight.validate import validate

LABELS = torch.arange(12) % 3


class Normed(nn.Module):
    feature_dim = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))

    def forward(self, vectors):
        return self.layers(vectors)


def small(**options):
    torch.manual_seed(0)
    return GPaCo(Normed(), TrainInfo(LABELS, 3, 5), **({"queue_size": 12, "projection_dim": 5} | options))


def batch():
    first, second = torch.randn(2, 12, 6, generator=torch.Generator().manual_seed(1)).unbind()
    return Batch((first, 3 + 2 * second), LABELS, torch.arange(12))


@pytest.mark.parametrize("bn_views", ["separate", "joint"])
def test_the_loss_is_that_of_both_views_among_both_views(bn_views):
    given, method = batch(), small(bn_views=bn_views, smooth=0.1)
    if bn_views == "joint":
        features = method.encoder(torch.cat(given.views))
    else:
        features = torch.cat([method.encoder(view) for view in given.views])
    embeddings = method.head(features)
    prior, settings = log_prior(torch.bincount(LABELS)), PaCoSettings(0.07, alpha=0.01, smooth=0.1)
    expected = paco(method.classifier(features), embeddings, LABELS.repeat(2), prior, settings)
    loss = method(given, 0, 0, one_process(FixedBatches([given])))["loss"]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(method.queue.rows, embeddings[12:].detach())


def test_a_pass_per_view_counts_as_a_batch_of_its_own():
    counts = []
    for bn_views in ("separate", "joint"):
        method = small(bn_views=bn_views)
        method(batch(), 0, 0, one_process(FixedBatches([batch()])))
        counts.append(int(method.encoder.layers[1].num_batches_tracked))
    assert counts == [2, 1]


def test_gradients_flow_through_both_views():
    given = batch()
    views = tuple(view.requires_grad_() for view in given.views)
    small()(given, 0, 0, one_process(FixedBatches([given])))["loss"].backward()
    assert all(bool(view.grad.any(dim=1).all()) for view in views)


def test_the_head_has_two_hidden_layers_without_batch_norm():
    kinds = [type(layer) for layer in small().head.layers]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


def test_another_word_for_the_batch_norm_is_refused():
    with pytest.raises(ValueError, match="separate or joint"):
        small(bn_views="both")


@pytest.mark.parametrize("dataset", ["cifar100_lt", "cifar10_lt"])
def test_recipe_of_the_authors(dataset):
    config, paco_config = (validate(compose([f"method={name}", f"dataset={dataset}"])) for name in ("gpaco", "paco"))
    assert config.train == paco_config.train
    assert of_method(config, "alpha", "temperature", "queue_size", "projection_dim") == [0.01, 0.07, 1024, 128]
    assert of_method(config, "smooth", "views") == [0, ["autoaugment_cutout", "sim_blur_rare"]]


def test_official_quirks_are_those_of_paco():
    official, paco_config = (
        validate(compose([f"method={name}", "dataset=cifar100_lt", "fidelity=official"])) for name in ("gpaco", "paco")
    )
    for key in ("queue_init", "official_epsilon", "in_batch"):
        assert official.method[key] == paco_config.method[key]
    assert official.train == paco_config.train
