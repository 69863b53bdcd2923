"""TSC with a queue: the authors' steps through both halves, restart, centres of queries, recipe, resume."""

import pytest
import torch
from helpers.chain import resumed_in_its_last_epoch
from helpers.engine_parts import FixedBatches, Vectors, context_of, long_tailed, one_process, stage, training
from helpers.golden_vectors import DOUBLE, golden
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.schedules import Cosine
from lt_bench.errors import SettingError
from lt_bench.geometry.assignment import matched, moved_centres
from lt_bench.losses.kcl_moco import k_positive
from lt_bench.losses.queue import Anchors
from lt_bench.losses.tsc import Targets
from lt_bench.losses.tsc_moco import targeted_in_queue
from lt_bench.methods import kcl_moco, tsc_moco
from lt_bench.methods.tsc_moco import TSCMoCo
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

BATCH = long_tailed()
LOSS = {"rtol": 1e-8, "atol": 0.0}


class Hidden(nn.Module):
    """The encoder of the authors' steps; what is behind it is the head."""

    feature_dim = 6

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, vectors):
        return self.layer(vectors).relu()


class Halves:
    """A cosine over each half of the authors' steps, of which the first has fewer; it begins anew where epochs do."""

    def __init__(self, rate, lengths):
        self.parts, self.last = [Cosine(rate, length) for length in lengths], -1

    def __call__(self, epoch, step, steps_per_epoch):
        if epoch < self.last:
            self.parts = self.parts[1:]
        self.last = epoch
        return self.parts[0](epoch, step, steps_per_epoch)


class Scripted(TSCMoCo):
    """Takes its draws from a script."""

    def draws(self, share, epoch, step, context):
        return self.script[epoch]


def prepared(case):
    """The method with the networks, queue, centres and targets of the authors' steps, each of which is an epoch."""
    steps = int(case["steps"])
    labels = torch.cat([case[f"s{t}_labels"] for t in range(steps)])
    settings = {name: float(case[key]) for name, key in (("temperature", "temperature"), ("momentum", "ema"))}
    method = Scripted(
        Hidden(),
        TrainInfo(labels, len(case["targets"]), steps),
        projection_dim=5,
        queue_size=len(case["queue0"]),
        positives=int(case["k"]),
        warm_epochs=int(case["kcl_steps"]),
        target_weight=float(case["target_weight"]),
        centres="random",
        assign_every=1,
        **settings,
    ).double()
    method.script = [case[f"s{t}_draws"] for t in range(steps)]
    layers = (method.encoder.layer, method.head.layers[0], method.head.layers[2])
    copies = (method.momentum_encoder.layers[0].layer, *(method.momentum_encoder.layers[1].layers[n] for n in (0, 2)))
    for both in (layers, copies):
        for number, layer in enumerate(both, start=1):
            layer.load_state_dict({"weight": case[f"init_W{number}"], "bias": case[f"init_b{number}"]})
    method.queue.rows.copy_(case["queue0"])
    method.class_centres.copy_(case["centroids0"])
    method.targets.copy_(case["targets"])
    return method, layers, copies


def test_the_authors_steps_through_the_real_method_trainer_and_optimiser(tmp_path, monkeypatch):
    case = golden("tsc_step")
    method, layers, copies = prepared(case)
    steps, count = int(case["steps"]), len(case["s0_labels"])
    batches = [
        Batch(
            (case[f"s{t}_xq"].double(), case[f"s{t}_xk"].double()),
            case[f"s{t}_labels"],
            torch.arange(count * t, count * t + count),
        )
        for t in range(steps)
    ]
    source = FixedBatches(batches, method.labels)
    source.labels = batches[0].labels  # one step an epoch
    settings = training(steps, count, float(case["lr"]), momentum=0.9, weight_decay=float(case["weight_decay"]))
    schedule = Halves(float(case["lr"]), [int(case["kcl_steps"]), int(case["steps_per_half"])])
    trainer = Trainer(method, source, settings, schedule, one_process(source), stage(tmp_path))
    step, seen, done = trainer._step, [], []
    for name in ("k_positive", "targeted_in_queue"):
        module = tsc_moco if name == "targeted_in_queue" else kcl_moco
        loss_of = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *words, loss_of=loss_of: seen.append(words) or loss_of(*words))

    def checked(*words):
        t = len(done)
        terms = step(*words)
        done.append(words[3])
        expected = {name.removeprefix(f"s{t}_"): value for name, value in case.items() if name.startswith(f"s{t}_")}
        assert words[3] == pytest.approx(float(expected["lr"]), rel=1e-12)
        torch.testing.assert_close(terms["loss"], expected["loss"], **LOSS)
        anchors, *others = seen[-1]
        torch.testing.assert_close(anchors.queries.detach(), expected["q"], **DOUBLE)
        cosines = [part.detach() for part in anchors.cosines()]
        late = t >= int(case["kcl_steps"])
        if late:
            targets = others[-2]
            cosines.append(anchors.queries.detach() @ targets.points.T)
            without = targeted_in_queue(*seen[-1][:-2], targets._replace(weight=0.0), seen[-1][-1])
            torch.testing.assert_close(without.detach(), expected["loss_class"], **LOSS)
            torch.testing.assert_close(terms["loss"] - without.detach(), expected["loss_target"], rtol=1e-7, atol=1e-9)
            assert torch.equal(method.target_of_class, expected["assignment"])
        torch.testing.assert_close(torch.cat(cosines, 1), expected["cosines"], **DOUBLE)
        torch.testing.assert_close(method.class_centres, expected["centroids_after"], **DOUBLE)
        torch.testing.assert_close(method.queue.rows, expected["queue_after"], **DOUBLE)
        assert torch.equal(method.queue.labels, expected["queue_labels_after"])
        assert int(method.queue.pointer) == int(expected["pointer_after"])
        torch.testing.assert_close(layers[2].weight.detach(), expected["W3_query_after"], **DOUBLE)
        torch.testing.assert_close(copies[2].weight.detach(), expected["W3_key_after"], **DOUBLE)
        return terms

    trainer._step = checked
    trainer.fit()
    assert len(done) == steps and method.restart_epochs() == (int(case["restart_step"]),)
    for number, (layer, copy) in enumerate(zip(layers, copies, strict=True), start=1):
        for kind, name in (("weight", "W"), ("bias", "b")):
            found = getattr(layer, kind).detach(), getattr(copy, kind).detach()
            torch.testing.assert_close(found[0], case[f"final_{name}{number}"], **DOUBLE)
            torch.testing.assert_close(found[1], case[f"final_key_{name}{number}"], **DOUBLE)


def small(epochs=10, classes=3, **settings):
    torch.manual_seed(0)
    info = TrainInfo(BATCH.labels, classes, epochs)
    return TSCMoCo(Vectors(), info, **({"projection_dim": 5, "warm_epochs": 2, "queue_size": 50} | settings))


@pytest.mark.parametrize("normaliser", ["paper", "code"])
def test_kcl_comes_first_and_then_the_loss_has_targets(normaliser):
    method = small(target_normaliser=normaliser)
    run = context_of(method, BATCH)
    for epoch in (1, 2):
        method.on_epoch_start(epoch, run)
        queue, members, centres = (
            one.clone() for one in (method.queue.rows, method.queue.labels, method.class_centres)
        )
        queries = method.embed(BATCH.views[0])
        terms = method(BATCH, epoch, 0, run)
        anchors = Anchors(queries, method.momentum_encoder(BATCH.views[1]), queue)
        words = anchors, BATCH.labels, members, method.draws(len(BATCH.labels), epoch, 0, run), 0.07
        if epoch == 1:
            torch.testing.assert_close(terms, {"loss": k_positive(*words, "distinct")})
            assert torch.equal(method.class_centres, centres)
        else:
            moved = moved_centres(centres, queries.detach(), BATCH.labels, 0.9)
            torch.testing.assert_close(method.class_centres, moved)
            assert torch.equal(method.target_of_class, matched(centres, method.targets))  # as the epoch began
            targets = Targets(method.targets, method.target_of_class, 0.2, normaliser)
            torch.testing.assert_close(terms["loss"], targeted_in_queue(*words, targets))


def test_optimiser_and_schedule_begin_anew_unless_they_are_not_to():
    found = [small(**words).restart_epochs() for words in ({}, {"restart": False}, {"warm_epochs": 0}, {"epochs": 1})]
    assert found == [(2,), (), (), ()]


def test_a_run_of_one_epoch_has_targets_in_it():
    method = small(epochs=1, warm_epochs=1)
    run = context_of(method, BATCH)
    method.on_epoch_start(0, run)
    assert "rematched" in method(BATCH, 0, 0, run)


def test_steps_of_which_nothing_is_drawn_or_matched_are_alike():
    assert [small(positives=0).phase(epoch) for epoch in (1, 2, 3)] == [False, True, True]
    assert [small(sampling="first", assign_every=1).phase(epoch) for epoch in (1, 2)] == [False, None]
    assert [small().phase(epoch) for epoch in (1, 2)] == [None, None]


@pytest.mark.parametrize(
    "settings", [{"warm_epochs": -1}, {"directions": "far"}, {"positives": -1}, {"queue_size": 0}, {"sampling": "all"}]
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError) as caught:
        small(**settings)
    assert [caught.value.name] == list(settings)


def test_values_and_rates_of_the_authors():
    for dataset in ("imagenet_lt", "inat18"):
        found = validate(compose(["method=tsc_moco", f"dataset={dataset}"]))
        train, method = found.train, found.method
        assert (train.epochs, train.batch_size, train.lr, train.drop_last) == (400, 256, 0.1, True)
        assert (method["warm_epochs"], train.schedule["epochs"], method["target_weight"]) == (200, 200, 0.2)
        assert method["target_normaliser"] == "code" and method["positives"] == 6
        schedule = build(train.schedule, "train.schedule")
        half = torch.tensor([schedule(epoch, 0, 10) for epoch in range(200)], dtype=torch.float64)
        torch.testing.assert_close(half, golden("tsc_lr")["tsc_half_200"], rtol=1e-9, atol=1e-11)
    assert TSCMoCo(Vectors(), TrainInfo(BATCH.labels, 3, 400)).warm_epochs == 200


def test_the_official_form_matches_in_every_step_and_searches_its_targets():
    clean, official = (
        validate(compose(["method=tsc_moco", "dataset=imagenet_lt", f"fidelity={word}"])).method
        for word in ("clean", "official")
    )
    changed = {key: value for key, value in official.items() if clean.get(key) != value}
    assert changed == {"centres": "random", "assign_every": 1, "directions": "search"}


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("method.centres=random", "method.assign_every=1")])
def test_a_run_resumes_inside_its_second_half(words, tmp_path, monkeypatch):
    undisturbed = resumed_in_its_last_epoch(monkeypatch, tmp_path, "method=tsc_moco", "dataset=digits_lt", *words)
    state, (epoch, _) = undisturbed["stage one"], undisturbed["stage one"]["position"]
    assert sorted(state["target_of_class"].tolist()) == list(range(10)) and epoch >= 2
