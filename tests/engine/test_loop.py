"""The loop: order of an epoch, steps, restarts, best epoch, non-finite losses, checkpoints."""

import json

import pytest
import torch
from helpers.engine_parts import Constant, FixedBatches, Vectors, one_process, stage, training
from torch import nn

from lt_bench.config.schema import Budget
from lt_bench.contracts import Batch, Method
from lt_bench.data.batches.source import SyncSource
from lt_bench.engine import checkpoint
from lt_bench.engine.loop import LOG_EVERY_STEPS, Trainer
from lt_bench.engine.order import EpochOrder
from lt_bench.errors import NonFiniteLoss, UsageError, keyed

LABELS = torch.arange(10) % 3
INPUTS = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))


class Recorder(Method):
    """A linear regression that writes down what the engine asks of it."""

    views = ("plain",)

    def __init__(self, restarts=(), bad_step=None):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Vectors()
        self.calls, self.restarts, self.bad_step = [], restarts, bad_step

    def restart_epochs(self):
        return self.restarts

    def on_epoch_start(self, epoch, run):
        self.calls.append(("start", epoch))

    def forward(self, batch, epoch, step, run):
        self.calls.append(("step", epoch, step, len(batch.labels)))
        loss = self.encoder(batch.views[0]).square().mean()
        return {"loss": loss * torch.nan if (epoch, step) == self.bad_step else loss, "size": torch.tensor(1.0)}


class Slices(SyncSource):
    """A source over all inputs that keeps the indices it was asked for."""

    labels = LABELS

    def __init__(self):
        self.asked, self.seeds, self.strengths = [], [], []

    def batch(self, indices, rows, views, generator, strength=None):
        self.asked.append(indices.tolist())
        self.strengths.append(None if strength is None else strength.tolist())
        self.seeds.append(generator.initial_seed())
        return Batch((INPUTS[indices[rows]],), LABELS[indices[rows]], indices[rows])


def trainer(tmp_path, method=None, source=None, settings=None, schedule=None, score=None, **intervals):
    source = source or Slices()
    return Trainer(
        method or Recorder(),
        source,
        settings or training(2, 4),
        schedule or Constant(0.1),
        one_process(source),
        stage(tmp_path, **intervals),
        score,
    )


def test_order_of_an_epoch_and_the_last_incomplete_batch(tmp_path):
    method, source = Recorder(), Slices()
    position = trainer(tmp_path, method, source).fit()
    steps = [("step", epoch, step, size) for epoch in (0, 1) for step, size in enumerate((4, 4, 2))]
    assert method.calls == [("start", 0), *steps[:3], ("start", 1), *steps[3:]]
    for epoch in (0, 1):
        visited = sum(source.asked[3 * epoch : 3 * epoch + 3], [])
        assert sorted(visited) == list(range(10))
    assert source.asked[:3] != source.asked[3:]
    assert len(set(source.seeds)) == 6  # fresh augmentation at every step
    assert position.images == 20


class Boosting(Recorder):
    """Strengths that its own steps change from one epoch to the next."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(10))
        self.register_buffer("kept", torch.zeros(10))

    def on_epoch_start(self, epoch, run):
        super().on_epoch_start(epoch, run)
        self.kept.copy_(self.seen)

    def strength(self):
        self.calls.append(("strength", self.kept.tolist()))
        return self.kept

    def forward(self, batch, epoch, step, run):
        self.seen.index_add_(0, batch.indices, torch.ones(len(batch.indices)))
        return super().forward(batch, epoch, step, run)


def test_strengths_are_read_once_an_epoch_and_restored_inside_one(tmp_path):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    method, source = Boosting(), Slices()
    trainer(tmp_path / "whole", method, source).fit()
    assert [call for call in method.calls if call[0] != "step"] == [
        ("start", 0), ("strength", [0.0] * 10), ("start", 1), ("strength", [1.0] * 10)
    ]  # fmt: skip
    assert source.strengths == [[0.0] * 10] * 3 + [[1.0] * 10] * 3
    killed = trainer(tmp_path / "killed", Boosting(), Slices(), every_steps=5)
    step = killed._step
    killed._step = lambda *words: step(*words) if words[1:3] != (1, 2) else 1 / 0
    with pytest.raises(ZeroDivisionError):
        killed.fit()
    method, source = Boosting(), Slices()
    trainer(tmp_path / "killed", method, source).fit()
    assert method.calls == [("strength", [1.0] * 10), ("step", 1, 2, 2)] and source.strengths == [[1.0] * 10]


def test_drop_last_and_a_cap_on_the_steps(tmp_path):
    settings = training(1, 4)
    settings.drop_last = True
    assert trainer(tmp_path, settings=settings).steps_per_epoch == 2
    source = Slices()
    capped = stage(tmp_path)._replace(budget=Budget(max_steps_per_epoch=1))
    assert Trainer(Recorder(), source, training(1, 4), Constant(0.1), one_process(source), capped).steps_per_epoch == 1
    settings = training(1, 11)
    settings.drop_last = True
    with (
        pytest.raises(
            UsageError, match="train.batch_size is at most 10 .or drop_last=false., not 11; set train.batch_size=10"
        ),
        keyed("train"),
    ):
        trainer(tmp_path, settings=settings)


def test_a_last_batch_that_is_too_small_for_the_method_is_left_out(tmp_path):
    class Pairs(Recorder):
        smallest_share = 2

    counts = {size: trainer(tmp_path, Pairs(), settings=training(1, size)).steps_per_epoch for size in (3, 4, 9)}
    assert counts == {3: 3, 4: 3, 9: 1}  # of ten images
    with (
        pytest.raises(UsageError, match="is at least 2, the images that a batch needs, not 1; set train.batch_size=2"),
        keyed("train"),
    ):
        trainer(tmp_path, Pairs(), settings=training(1, 1))


def test_steps_are_those_of_sgd_with_the_schedule(tmp_path):
    method, source = Recorder(), Slices()
    rates = []

    def schedule(epoch, step, steps_per_epoch):
        rates.append(0.1 / (1 + epoch * steps_per_epoch + step) - 0.02)  # becomes negative
        return rates[-1]

    expected = Recorder()
    trainer(tmp_path, method, source, training(2, 4, momentum=0.9, weight_decay=0.01), schedule).fit()
    momenta = [torch.zeros_like(parameter) for parameter in expected.parameters()]
    for indices, rate in zip(source.asked, rates, strict=True):
        expected.zero_grad()
        expected.encoder(INPUTS[indices]).square().mean().backward()
        for parameter, momentum in zip(expected.parameters(), momenta, strict=True):
            momentum.mul_(0.9).add_(parameter.grad + 0.01 * parameter.data)
            parameter.data -= rate * momentum
    for found, wanted in zip(method.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_optimiser_and_schedule_begin_anew_at_a_restart(tmp_path):
    seen = []

    def schedule(epoch, step, steps_per_epoch):
        seen.append(epoch)
        return 0.1

    one = trainer(tmp_path, Recorder(restarts=(2,)), settings=training(4, 10, momentum=0.9), schedule=schedule)
    optimizers = []
    step = one._step
    one._step = lambda *words: optimizers.append(id(one.optimizer)) or step(*words)
    one.fit()
    assert seen == [0, 1, 0, 1]
    assert len(set(optimizers)) == 2 and optimizers[0] == optimizers[1] != optimizers[2] == optimizers[3]


def test_a_non_finite_loss_names_its_step_and_is_never_saved(tmp_path):
    with pytest.raises(NonFiniteLoss, match="epoch 1, step 2.*train.lr"):
        trainer(tmp_path, Recorder(bad_step=(1, 2)), every_steps=1).fit()
    state = checkpoint.load(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert (state["position"]["epoch"], state["position"]["step"]) == (1, 2)
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_a_non_finite_loss_is_noticed_inside_a_long_epoch(tmp_path):
    source = FixedBatches([Batch((INPUTS,), LABELS, torch.arange(10))], labels=torch.zeros(10 * 200, dtype=torch.int64))
    method = Recorder(bad_step=(0, 3))
    with pytest.raises(NonFiniteLoss, match="step 3"):
        trainer(tmp_path, method, source, training(1, 10)).fit()
    assert len(method.calls) == 1 + LOG_EVERY_STEPS


def test_the_best_epoch_is_kept_when_a_score_is_given(tmp_path):
    method = Recorder()
    scores = iter([0.2, 0.9, 0.5])
    weights = []

    def score():
        weights.append(method.encoder.layers[0].weight.detach().clone())
        return next(scores)

    position = trainer(tmp_path, method, settings=training(3, 4), score=score).fit()
    assert (position.best["epoch"], position.best["score"]) == (1, 0.9)
    assert torch.equal(method.encoder.layers[0].weight, weights[1])
    stored = checkpoint.load(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert torch.equal(stored["model"]["encoder.layers.0.weight"], weights[2])
    assert torch.equal(stored["position"]["best"]["model"]["encoder.layers.0.weight"], weights[1])


def test_means_of_an_epoch_go_to_metrics(tmp_path):
    trainer(tmp_path).fit()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"], row["size"], row["lr"]) for row in rows] == [
        ("stage", 0, 1.0, 0.1),
        ("stage", 1, 1.0, 0.1),
    ]


@pytest.mark.parametrize(
    ("intervals", "saves"),
    [
        ({"every_epochs": 1}, 3),
        ({"every_epochs": 2}, 2),
        ({"every_epochs": None}, 1),
        ({"every_epochs": None, "every_steps": 2}, 5),
    ],
)
def test_checkpoints_come_at_the_chosen_interval_and_at_the_end(intervals, saves, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(checkpoint, "save", lambda path, state: written.append(state["position"]))
    trainer(tmp_path, settings=training(3, 4), **intervals).fit()
    assert len(written) == saves
    assert written[-1]["epoch"] == 3


def test_only_parameters_with_gradients_are_trained(tmp_path):
    method = Recorder()
    method.frozen = nn.Linear(2, 2).requires_grad_(False)
    one = trainer(tmp_path, method)
    assert len(one.optimizer.param_groups[0]["params"]) == 2


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_every_rate_follows_the_batch_size_by_the_rule(tmp_path, rule, factor):
    settings = training(2, 4)
    settings.lr_scaling, settings.lr_base_batch = rule, 1
    one = trainer(tmp_path, settings=settings, schedule=lambda epoch, step, steps: 0.1 * (epoch + 1))
    rates = []
    step = one._step
    one._step = lambda *words: rates.append(words[3]) or step(*words)
    one.fit()
    assert rates == pytest.approx([0.1 * factor] * 3 + [0.2 * factor] * 3)
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["lr"] == pytest.approx(0.2 * factor)


def test_a_class_aware_epoch_may_be_cut_to_the_length_of_the_train_split(tmp_path):
    labels = torch.tensor([0] * 8 + [1, 2])
    run = one_process(None)
    whole, cut = (EpochOrder(labels, sampler, run) for sampler in ("class_aware", "class_aware_cut"))
    assert (len(whole), len(cut)) == (24, 10)
    assert torch.equal(whole(0)[:10], cut(0))
    drawn = labels[torch.cat([cut(epoch) for epoch in range(30)])]
    shares = torch.bincount(drawn) / 300
    assert shares.min() > 0.25 and shares.max() < 0.42
    with pytest.raises(ValueError, match="shuffle, class_aware, class_aware_cut, balanced"):
        EpochOrder(labels, "random", run)


def test_a_balanced_epoch_draws_as_many_images_every_class_as_likely():
    labels = torch.tensor([0] * 8 + [1, 2])
    order = EpochOrder(labels, "balanced", one_process(None))
    assert len(order) == len(order(0)) == 10 and torch.equal(order(3), order(3))
    shares = torch.bincount(labels[torch.cat([order(epoch) for epoch in range(300)])]) / 3000
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.05, rtol=0)
