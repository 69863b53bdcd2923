"""Partner batches: whom they hold, that they change nothing else, and what a run that mixes with them promises."""

from pathlib import Path

import pytest
import torch
from benchmarks.harness import HostReads
from helpers import image_trees
from helpers.chain import assert_identical, execute, killed_until_done, results, tiny
from helpers.engine_parts import CPU, Constant, Noisy, Vectors, one_process, stage, training
from helpers.two_processes import assert_one_training

from lt_bench.augment.views import build_view
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import InMemoryImages
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes
from lt_bench.engine.loop import Trainer
from lt_bench.methods.ce import CE
from lt_bench.models.tiny import TinyEncoder
from lt_bench.run.build import build

MIXINGS = ("mixup", "cutmix", "remix", "cmo")
ALL_ALONG = {"cmo": ("method.mixing.start_epoch=0", "method.mixing.last_plain_epochs=0")}


class Paired(CE):
    """Keeps the labels, and the positions of partners, of every step; every other step has a partner."""

    def __init__(self, encoder, info):
        super().__init__(encoder, info)
        self.partner_exponent, self.seen = 1.0, []

    def needs_partner(self, epoch, step, context):
        return step % 2 == 1

    def mixed(self, batch, epoch, step, context):
        self.seen.append((batch.indices, None if batch.partner is None else batch.partner.indices))
        return batch._replace(partner=None)


def trainer_of(method, tmp_path):
    source = Noisy()
    return Trainer(method, source, training(2, 8), Constant(0.1), one_process(source), stage(tmp_path))


def test_partners_change_no_batch_and_are_made_where_they_are_needed(tmp_path):
    labels = Noisy().labels
    plain = trainer_of(CE(Vectors(), TrainInfo(labels, 3, 2)), tmp_path)
    method = Paired(Vectors(), TrainInfo(labels, 3, 2))
    paired = trainer_of(method, tmp_path)
    partners = paired.partners(1, 26)
    for step, (one, other) in enumerate(zip(plain.batches(1), paired.batches(1), strict=True)):
        assert torch.equal(one.views[0], other.views[0]) and torch.equal(one.indices, other.indices)
        assert (other.partner is None) == (step % 2 == 0)
        if other.partner is not None:  # as many as the batch has, the last one too
            assert torch.equal(other.partner.indices, partners[8 * step :][: len(one.indices)])
    paired.state.step = 3  # a run that goes on inside an epoch has the batches that are left
    (last,) = paired.batches(1)
    assert torch.equal(last.indices, one.indices) and torch.equal(last.partner.indices, partners[24:])


@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_killed_run_that_mixes_ends_as_if_undisturbed(mixing, tmp_path, monkeypatch):
    words = (
        "method=ce_drw",
        f"mixing={mixing}",
        *ALL_ALONG.get(mixing, ()),
        "stage_two=none",
        "checkpoint.every_steps=2",
    )
    expected = results(*execute(tiny(tmp_path / "once", *words)))
    killed, outcome = killed_until_done(tiny(tmp_path / "killed", *words), monkeypatch, steps=3)
    assert killed
    assert_identical(results(*outcome), expected)
    plain = results(*execute(tiny(tmp_path / "once", "method=ce_drw", "stage_two=none")))
    assert not torch.equal(plain["stage one"]["classifier.weight"], expected["stage one"]["classifier.weight"])


def test_large_images_have_partners_too(tmp_path):
    root = image_trees.tree(tmp_path / "data", "imagenet_lt")
    words = (*image_trees.overrides(root, "imagenet_lt"), "method=ce", "mixing=cmo", *ALL_ALONG["cmo"])
    words += ("method.mixing.probability=1", "train.batch_size=16", "stage_two=none")
    record, folder = execute(tiny(tmp_path / "runs", *words, "dataset.workers=1"))
    other, again = execute(tiny(tmp_path / "others", *words, "dataset.workers=0"))
    assert record.method_name == "CE + CMO"
    assert_identical(results(record, folder), results(other, again))


@pytest.mark.parametrize("mixing", MIXINGS)
def test_mixing_reads_nothing_on_the_host(mixing, tmp_path):
    trainer = _small("ce", mixing, tmp_path, Processes(0, 1, CPU))
    batches = trainer.batches(1)
    trainer._step(next(batches), 1, 0, 0.1)
    with HostReads() as reads:
        trainer._step(next(batches), 1, 1, 0.1)
    assert not reads.found


def _small(method, mixing, folder, processes):
    mixing = (f"mixing={mixing}", *ALL_ALONG.get(mixing, ()), "method.mixing.probability=1")
    config = tiny(folder, f"method={method}", *mixing, "train.batch_size=12", "budget.max_steps_per_epoch=2")
    config.train.epochs = 5
    labels = torch.arange(84) % 11 % 4
    images = torch.randint(0, 256, (84, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    source = InMemoryImages(images, labels, lambda view: build_view(view, config.dataset))
    torch.manual_seed(0)
    built = build(config.method, "method", TinyEncoder(), TrainInfo(labels, 4, 5))
    own = Path(folder) / f"rank{processes.rank}"
    own.mkdir()
    where = stage(own)._replace(budget=config.budget)
    return Trainer(built, source, config.train, Constant(0.05), EngineContext(processes, 3, source), where)


class State:
    """The state after ten steps with a mixing."""

    def __init__(self, mixing):
        self.mixing = mixing

    def __call__(self, processes, folder):
        trainer = _small("ce_drw", self.mixing, folder, processes)
        trainer.fit()
        return trainer.method.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("mixing", MIXINGS)
def test_two_processes_mix_as_one(mixing, tmp_path):
    assert_one_training(State(mixing), tmp_path, 1e-5)
