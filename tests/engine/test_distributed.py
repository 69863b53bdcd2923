"""Two gloo processes: gather and its gradient, broadcasts, embeddings, and the training of one process."""

from datetime import timedelta

import pytest
import torch
from helpers.engine_parts import CPU, INPUTS, LABELS, Constant, Noisy, Vectors, stage, training
from helpers.two_processes import on_two
from torch.distributed import HashStore

from lt_bench.contracts import TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.engine.distributed import Processes, start
from lt_bench.engine.loop import Trainer
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.ce import CE
from lt_bench.methods.ldam_drw import LDAMDRW
from lt_bench.methods.sbcl import SBCL
from lt_bench.methods.supcon import SupCon
from lt_bench.stage_two.ldam_drw import LDAMDRW as LDAMDRWRule
from lt_bench.stage_two.linear_probe import LinearProbe

pytestmark = pytest.mark.slow


def test_processes_wait_for_each_other_for_days(monkeypatch):
    """The first may have to wait for the lock of another process, which trains its stage one."""
    given = []
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.distributed.rendezvous", lambda *_, **words: iter([(HashStore(), 1, 2)]))
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *_, **words: given.append(words["timeout"]))
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    assert start("cpu") == Processes(1, 2, CPU)
    assert given == [timedelta(days=7)]


def build(name):
    torch.manual_seed(0)
    info = TrainInfo(LABELS, 3, 5)
    if name == "ce":
        return CE(Vectors(), info)
    if name == "supcon":
        return SupCon(Vectors(), info, projection_dim=5)
    if name == "balanced_softmax":
        return BalancedSoftmax(Vectors(), info)
    if name == "ldam_drw":
        return LDAMDRW(Vectors(), info, drw_start_epoch=2)
    if name == "linear_probe":
        return LinearProbe().build(Vectors(feature_dim=6), None, info)
    if name == "ldam_drw_rule":
        return LDAMDRWRule(augment=False).build(Vectors(feature_dim=6), None, info)  # inputs stand for features
    return SBCL(Vectors(), info, projection_dim=5, warm_epochs=1, update_interval=2, minimum_size=3)


def train(name, processes, folder):
    source, method = Noisy(INPUTS.double()), build(name).double()
    run = EngineContext(processes, 3, source)
    # 26 images in batches of 8: the last batch of 2 is shared out too
    settings = training(4, 8, lr=0.05, momentum=0.9, name="adam" if name == "linear_probe" else "sgd")
    Trainer(method, source, settings, Constant(0.05), run, stage(folder)).fit()
    return {key: value for key, value in method.state_dict().items()}


def gather_task(processes, folder):
    rank, run = processes.rank, EngineContext(processes, 0, Noisy())
    rows = (torch.arange(6.0).reshape(3, 2) + 10 * rank).requires_grad_()
    offset = torch.zeros(6, 2, requires_grad=True)
    moved = offset * 1  # made before the gather, so autograd comes back to it afterwards, with the same gradient
    everything = run.gather(rows)
    # every rank computes the joint loss; parameter gradients are averaged over ranks, so rows get twice their gradient
    ((everything + moved).square().sum() * (rank + 1)).backward()
    return {
        "everything": everything.detach(),
        "gradient": rows.grad,
        "local gradient": offset.grad,
        "broadcast": run.from_rank0(lambda: torch.tensor([rank, 7])),
        "embedding": run.embed(lambda x: x * 2),
        "labels": run.gather(torch.tensor([rank])),
    }


def test_gather_broadcast_and_embed():
    results = on_two(gather_task)
    joined = torch.cat([torch.arange(6.0).reshape(3, 2), torch.arange(6.0).reshape(3, 2) + 10])
    for rank, result in enumerate(results):
        assert torch.equal(result["everything"], joined)
        torch.testing.assert_close(result["gradient"], 2 * joined[3 * rank : 3 * rank + 3] * (1 + 2))
        torch.testing.assert_close(result["local gradient"], 2 * joined * (rank + 1))
        assert result["broadcast"].tolist() == [0, 7]
        assert result["labels"].tolist() == [0, 1]
        torch.testing.assert_close(result["embedding"], INPUTS * 2)


class TrainTask:
    def __init__(self, name):
        self.name = name

    def __call__(self, processes, folder):
        own = folder / f"rank{processes.rank}"
        own.mkdir()
        return train(self.name, processes, own)


@pytest.mark.parametrize(
    "name", ["ce", "balanced_softmax", "ldam_drw", "supcon", "sbcl", "ldam_drw_rule", "linear_probe"]
)
def test_two_processes_train_as_one_on_the_joined_batch(name, tmp_path):
    """Sixteen steps, in float64 so that the order of additions is not what is compared."""
    alone = train(name, Processes(0, 1, CPU), tmp_path)
    for result in on_two(TrainTask(name)):
        assert result.keys() == alone.keys()
        for key, value in result.items():
            torch.testing.assert_close(
                value, alone[key], rtol=1e-9, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}"
            )


class Visits:
    """Which images a rank is given at every step of two epochs of 9 to a batch, whose last batch has 8 or fewer."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __call__(self, processes, folder):
        source = Noisy()
        settings = training(2, 9, lr=0.05)
        settings.sampler = self.sampler
        visited = []
        (folder / f"rank{processes.rank}").mkdir()
        where = stage(folder / f"rank{processes.rank}")
        method = build("ce")
        method.register_forward_pre_hook(lambda module, words: visited.append(words[0].indices))
        trainer = Trainer(method, source, settings, Constant(0.05), EngineContext(processes, 3, source), where)
        trainer.fit()
        return {"visited": visited, "length": len(trainer.order)}


@pytest.mark.parametrize("sampler", ["shuffle", "class_aware", "class_aware_cut"])
def test_two_processes_share_out_what_one_visits(sampler, tmp_path):
    """But for the last image of a batch of an odd number."""
    alone = Visits(sampler)(Processes(0, 1, CPU), tmp_path)
    first, second = on_two(Visits(sampler))
    assert first["length"] == second["length"] == alone["length"]
    steps = -(-alone["length"] // 9)
    assert len(alone["visited"]) == len(first["visited"]) == len(second["visited"]) == 2 * steps
    for whole, *shares in zip(alone["visited"], first["visited"], second["visited"], strict=True):
        assert [len(share) for share in shares] == 2 * [len(whole) // 2]
        assert torch.equal(torch.cat(shares), whole[: len(whole) // 2 * 2])
    if sampler == "class_aware":
        drawn = LABELS[torch.cat(alone["visited"])]
        assert torch.bincount(drawn).max() - torch.bincount(drawn).min() <= 4  # images of a visit of a class
