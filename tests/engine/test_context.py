"""What the engine lends to a method: random streams, and embeddings of the train split."""

import pytest
import torch
from helpers.engine_parts import CPU, FixedBatches, one_process
from torch import nn

from lt_bench.augment.views import build_view
from lt_bench.config.compose import compose
from lt_bench.contracts import Batch
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.context import EngineContext, evaluating
from lt_bench.engine.distributed import Processes
from lt_bench.engine.random import derived_seed


def test_a_generator_is_a_function_of_seed_stream_and_key_alone():
    run, again, other = one_process(None, 1), one_process(None, 1), one_process(None, 2)
    draw = lambda r, *key: torch.rand(3, generator=r.generator(*key)).tolist()  # noqa: E731
    first = draw(run, "order", 3)
    draw(run, "order", 4)
    assert draw(run, "order", 3) == first == draw(again, "order", 3)
    assert (
        len(
            {
                tuple(draw(r, *key))
                for r, key in ((run, ("order", 3)), (run, ("order", 4)), (run, ("augment", 3)), (other, ("order", 3)))
            }
        )
        == 4
    )


def test_derived_seeds_are_pinned():
    assert derived_seed(0, "order", 1) == derived_seed(0, "order", 1)
    assert 0 <= derived_seed(0, "order", 1) < 2**63
    assert derived_seed(1, "a", 2, 3) != derived_seed(1, "a", 23)


def test_embed_is_in_index_order_in_eval_mode_and_restores_every_mode():
    inputs = torch.randn(1203, 6)
    source = FixedBatches([Batch((inputs,), torch.zeros(1203, dtype=torch.int64), torch.arange(1203))])
    run = one_process(source)
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    module.train()
    module[2].eval()
    run.module = module
    modes = []
    embeddings = run.embed(lambda rows: modes.append(module[1].training) or module(rows))
    assert modes == [False, False, False]  # 500 + 500 + 203
    assert [part.training for part in module] == [True, True, False] and module.training
    assert not embeddings.requires_grad
    with evaluating(module), torch.no_grad():
        torch.testing.assert_close(embeddings, module(inputs))


@pytest.mark.parametrize(("images", "ranks"), [(7, 2), (8, 2), (5, 4), (2, 3)])
def test_an_augmented_view_is_drawn_alike_on_any_number_of_processes(images, ranks):
    dataset = compose(["method=ce"]).dataset
    pixels = torch.randint(0, 256, (images, 3, 8, 8), dtype=torch.uint8)
    source = InMemoryImages(pixels, torch.zeros(images, dtype=torch.int64), lambda view: build_view(view, dataset))
    alone = one_process(source).embed(lambda batch: batch.flatten(1), "simclr")
    parts = []
    for rank in range(ranks):
        run = EngineContext(Processes(rank, ranks, CPU), 0, source)
        run.gather = lambda rows: parts.append(rows) or torch.cat([rows] * ranks)
        run.embed(lambda batch: batch.flatten(1), "simclr")
    run.gather = lambda rows: torch.cat(parts)
    torch.testing.assert_close(run.embed(lambda batch: batch.flatten(1), "simclr"), alone)


def test_on_one_process_collectives_are_the_identity():
    run, rows = one_process(None), torch.randn(3, requires_grad=True)
    assert run.gather(rows) is rows
    assert run.from_rank0(lambda: rows) is rows
