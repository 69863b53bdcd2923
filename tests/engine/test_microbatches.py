"""Micro-batches: the gradient of the whole batch in several passes, and the losses that refuse them."""

import pytest
import torch
from helpers.chain import execute, tiny
from helpers.engine_parts import CPU, INPUTS, LABELS, Constant, Noisy, Vectors, one_process, stage, training
from helpers.sampling import methods_for, one_of_each_family
from helpers.two_processes import on_two

from lt_bench.config.signatures import class_attribute
from lt_bench.contracts import TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.engine.microbatches import passes
from lt_bench.errors import UsageError
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.ce import CE


class Whole:
    """The state after three epochs of steps of 8, the last of 2, in passes of a size; the sizes of the passes."""

    def __init__(self, kind, microbatch):
        self.kind, self.microbatch = kind, microbatch

    def __call__(self, processes, folder):
        torch.manual_seed(0)
        method, source = self.kind(Vectors(), TrainInfo(LABELS, 3, 3)).double(), Noisy(INPUTS.double())
        lengths = []
        method.register_forward_pre_hook(lambda module, words: lengths.append(len(words[0].labels)))
        settings = training(3, 8, momentum=0.9)
        settings.microbatch = self.microbatch
        (folder / f"rank{processes.rank}").mkdir()
        where = stage(folder / f"rank{processes.rank}")
        trainer = Trainer(method, source, settings, Constant(0.1), EngineContext(processes, 3, source), where)
        trainer.fit()
        return {**method.state_dict(), "passes": torch.tensor(lengths)}


def assert_same(found, expected):
    for key in expected.keys() - {"passes"}:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [CE, BalancedSoftmax])
def test_passes_of_any_size_add_up_to_the_whole_batch(kind, tmp_path):
    alone = Processes(0, 1, CPU)
    expected = Whole(kind, None)(alone, tmp_path)
    assert expected["passes"].tolist() == 3 * [8, 8, 8, 2]
    for size, lengths in ((3, [3, 3, 2, 3, 3, 2, 3, 3, 2, 2]), (1, 26 * [1]), (8, [8, 8, 8, 2]), (100, [8, 8, 8, 2])):
        (tmp_path / str(size)).mkdir()
        found = Whole(kind, size)(alone, tmp_path / str(size))
        assert found["passes"].tolist() == 3 * lengths
        assert_same(found, expected)


@pytest.mark.slow
def test_two_processes_take_a_pass_together(tmp_path):
    expected = Whole(CE, None)(Processes(0, 1, CPU), tmp_path)
    for found in on_two(Whole(CE, 4)):
        assert found["passes"].tolist() == 3 * [2, 2, 2, 2, 2, 2, 1]
        assert_same(found, expected)


def test_terms_are_means_over_the_batch(tmp_path):
    torch.manual_seed(0)
    method, source = CE(Vectors(), TrainInfo(LABELS, 3, 3)), Noisy()
    settings = training(1, 8)
    settings.microbatch = 3
    trainer = Trainer(method, source, settings, Constant(0.0), one_process(source), stage(tmp_path))
    batch = source.batch(torch.arange(8), slice(None), ("plain",), None)
    terms = trainer._step(batch, 0, 0, 0.0)
    expected = method(batch, 0, 0, trainer.context)
    assert terms.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(terms[key], value.detach())
        assert not terms[key].requires_grad


@pytest.mark.parametrize(
    ("images", "size", "ranks", "sizes"),
    [
        (7, 3, 1, [3, 2, 2]),
        (10, 3, 1, [3, 3, 2, 2]),
        (10, 5, 1, [5, 5]),
        (10, 4, 2, [2] * 5),
        (10, 1, 4, [1] * 10),
        (3, 64, 1, [3]),
    ],
)
def test_a_batch_is_split_evenly_with_all_that_belongs_to_it(images, size, ranks, sizes):
    batch = Noisy().batch(torch.arange(images), slice(None), ("a", "b"), None)
    settings = training(1, 64)
    settings.microbatch = size
    found = passes(batch, settings, ranks)
    parts = [part for part, _ in found]
    assert [weight for _, weight in found] == [length / images for length in sizes]
    for number, whole in enumerate((batch.views[0], batch.views[1], batch.labels, batch.indices)):
        pieces = [(*part.views, part.labels, part.indices)[number] for part in parts]
        assert torch.equal(torch.cat(pieces), whole) and [len(piece) for piece in pieces] == sizes
    settings.microbatch = None
    assert passes(batch, settings, 1) == [(batch, 1.0)]


@pytest.mark.parametrize(("images", "ranks", "sizes"), [(8, 1, [4, 4]), (5, 1, [4, 1]), (3, 1, [3]), (3, 2, [2, 1])])
def test_weights_of_a_full_batch_are_those_of_a_smaller_one_too(images, ranks, sizes):
    batch = Noisy().batch(torch.arange(images), slice(None), ("a",), None)
    settings = training(1, 8)
    settings.microbatch, settings.microbatch_weights = 4, "full"
    found = passes(batch, settings, ranks)
    assert [(len(part.labels), weight) for part, weight in found] == [(length, 0.5) for length in sizes]


@pytest.mark.parametrize("name", one_of_each_family(methods_for()))
def test_a_loss_of_the_whole_batch_is_refused_unless_it_is_asked_for(name, tmp_path):
    words = (f"method={name}", "train.microbatch=4")
    settled = tiny(tmp_path, *words, "train.microbatch_anyway=true")
    if class_attribute(settled.method["_target_"], "microbatches", False):
        tiny(tmp_path, *words)
    else:
        with pytest.raises(UsageError, match=f"loss of method={name} is no mean over independent images"):
            tiny(tmp_path, *words)


def test_rules_whose_loss_is_a_mean_take_micro_batches(tmp_path):
    for rule, fine in (("cb", True), ("lws", True), ("ldam_drw", False)):
        words = ("method=ce", f"stage_two={rule}", "stage_two.train.microbatch=4")
        if fine:
            tiny(tmp_path, *words)
        else:
            with pytest.raises(UsageError, match=r"stage_two.train.microbatch=4: .* stage_two=ldam_drw"):
                tiny(tmp_path, *words)


def test_a_run_in_micro_batches_that_was_insisted_on_says_so(tmp_path):
    words = ("method=supcon", "train.microbatch=64", "train.microbatch_anyway=true")
    record, _ = execute(tiny(tmp_path, *words))
    assert record.settings["train.microbatch"] == 64 and record.settings["train.microbatch_anyway"] is True
