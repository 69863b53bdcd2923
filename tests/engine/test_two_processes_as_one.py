"""Every method, batch norm and all: ten steps on two processes are ten steps on one with the joined batch."""

import pytest
import torch
from helpers.chain import tiny
from helpers.engine_parts import Constant, stage
from helpers.sampling import methods_for
from helpers.two_processes import assert_one_training

from lt_bench.augment.views import build_view
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.context import EngineContext
from lt_bench.engine.loop import Trainer
from lt_bench.models.tiny import TinyEncoder
from lt_bench.run.build import build

CLASSES, BATCH, EPOCHS, STEPS = 4, 12, 5, 2
RANK_0_ALONE = ("kmeans_state",)  # what only the first process computes, and others are sent the result of


class Encoder(TinyEncoder):
    """Takes images of any precision in its own."""

    def maps(self, images):
        return super().maps(images.to(self.layers[0].weight.dtype))


class Ten:
    """Ten steps of a method, in as many epochs as its phases need; then its state, and its embeddings or features.

    With a ``rule`` they are those of a stage-two rule on the untrained method.
    """

    def __init__(self, name, dtype=torch.float64, lr=0.05, rule=None):
        self.name, self.dtype, self.lr, self.rule = name, dtype, lr, rule

    def __call__(self, processes, folder):
        config = tiny(folder, f"method={self.name}", "train.batch_size=12", "budget.max_steps_per_epoch=2")
        config.train.epochs = EPOCHS
        labels = torch.arange(7 * BATCH) % 11 % CLASSES  # unequal classes
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (len(labels), 3, 8, 8), generator=generator, dtype=torch.uint8)
        images = (images // 2 + 40 * labels[:, None, None, None]).clamp(max=255).to(torch.uint8)
        source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
        torch.manual_seed(0)
        info = TrainInfo(labels, CLASSES, EPOCHS)
        method = build(config.method, "method", Encoder(), info)
        if self.rule:
            parameters = tiny(folder, f"method={self.name}", f"stage_two={self.rule}").stage_two.parameters()
            method = build(parameters, "stage_two").build(method.encoder, method.classifier, info)
        method = method.to(self.dtype)
        run = EngineContext(processes, 3, source)
        own = folder / f"rank{processes.rank}"
        own.mkdir()
        where = stage(own)._replace(budget=config.budget)
        position = Trainer(method, source, config.train, Constant(self.lr), run, where).fit()
        assert position.images == EPOCHS * STEPS * BATCH
        state = {key: value for key, value in method.state_dict().items() if not key.endswith(RANK_0_ALONE)}
        return {**state, "features": run.embed(method.encoder)}


@pytest.mark.slow
@pytest.mark.parametrize("name", methods_for())
def test_ten_steps_on_two_processes_are_those_of_one(name, tmp_path):
    """In double precision, where a difference is no rounding error that ten steps have made larger."""
    assert_one_training(Ten(name), tmp_path, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bcl", "sbcl_moco"])
def test_and_in_single_precision_to_five_digits(name, tmp_path):
    assert_one_training(Ten(name, torch.float32, lr=0.01), tmp_path, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rule"), [("ce", "mislas"), ("ride", "router")])
def test_rules_whose_loss_or_batch_norms_need_the_joined_batch_see_it(name, rule, tmp_path):
    assert_one_training(Ten(name, rule=rule), tmp_path, 1e-9)
