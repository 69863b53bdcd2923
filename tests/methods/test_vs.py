"""VS: the authors' trace, raw logits at test time, and weights from an epoch on."""

import torch
from helpers.engine_parts import Vectors, one_process
from helpers.mixing_steps import follow

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.losses.vector_scaling import vector_scales, vector_scaling, vector_shifts
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.vs import VS

COUNTS = torch.tensor([20, 6, 2])
LABELS = torch.repeat_interleave(torch.arange(3), COUNTS)
BATCH = Batch((torch.randn(28, 6, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(28))


def built(kind=VS, **settings):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 10), **settings)


def test_trains_as_the_authors_code_does(tmp_path):
    def exact(counts):
        return {"scales": vector_scales(counts, 0.2), "shifts": vector_shifts(counts, 1.2)}

    follow("mixing_step_vs", VS, tmp_path, buffers=exact, gamma=0.2, tau=1.2)


def test_without_scales_it_is_balanced_softmax():
    run = one_process(None)
    losses = [method(BATCH, 0, 0, run)["loss"] for method in (built(gamma=0.0), built(BalancedSoftmax))]
    torch.testing.assert_close(*losses)


def test_weights_begin_at_their_epoch_and_the_classifier_gives_raw_logits():
    method, run = built(beta=0.99, drw_start_epoch=3), one_process(None)
    features = method.encoder(BATCH.views[0])
    raw = features @ method.classifier.weight.T + method.classifier.bias
    torch.testing.assert_close(method.classifier(features), raw)
    for epoch, weights in ((2, None), (3, method.weights.weights)):
        expected = vector_scaling(raw, LABELS, vector_scales(COUNTS, 0.3), vector_shifts(COUNTS, 1.0), weights)
        torch.testing.assert_close(method(BATCH, epoch, 0, run)["loss"], expected)
