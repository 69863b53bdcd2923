"""SBCL with MoCo: the authors' three steps, warm-up and second half, the queue's look-ups, recipe and quirks."""

import pytest
import torch
from helpers import image_trees
from helpers.chain import Killed, assert_identical, execute, kill_after, results, tiny
from helpers.engine_parts import Constant, FixedBatches, Vectors, context_of, long_tailed, one_process, stage, training
from helpers.golden_vectors import SINGLE, golden
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.schedules import Cosine, Steps
from lt_bench.errors import SettingError
from lt_bench.launch.planning.plan import expand
from lt_bench.losses.kcl_moco import k_positive
from lt_bench.losses.queue import Anchors
from lt_bench.losses.sbcl_moco import queue_subclass_balancing
from lt_bench.methods import sbcl_moco
from lt_bench.methods.sbcl_moco import SBCLMoCo
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import stage_one_id


class Same(nn.Identity):
    """Features are the inputs: what is trained is the head."""

    feature_dim = 6


class ScriptedSBCLMoCo(SBCLMoCo):
    """Takes its subclasses from a script."""

    def on_epoch_start(self, epoch, run):
        self.subclasses.copy_(self.script)
        self.class_temperatures.fill_(0.12)


def test_three_steps_of_the_real_method_and_engine_are_the_authors(tmp_path, monkeypatch):
    case = golden("sbcl_moco_step", "a")
    labels, subclasses = (torch.cat([case[f"step{t}_{name}"] for t in range(3)]) for name in ("labels", "subclass"))
    info = TrainInfo(labels, int(labels.max()) + 1, 1)
    method = ScriptedSBCLMoCo(
        Same(), info, warm_epochs=0, minimum_size=1, projection_dim=5, queue_size=8, momentum=float(case["ema"])
    )
    method.script = subclasses
    for head in (method.head, method.momentum_encoder.layers[1]):
        for number, layer in ((1, head.layers[0]), (2, head.layers[2])):
            layer.load_state_dict({"weight": case[f"W{number}"], "bias": case[f"b{number}"]})
    method.queue.rows.copy_(case["queue0"].T)
    batches = [
        Batch((case[f"step{t}_xq"], case[f"step{t}_xk"]), case[f"step{t}_labels"], torch.arange(4 * t, 4 * t + 4))
        for t in range(3)
    ]
    seen = []

    def watched(anchors, *words):
        seen.append(torch.cat(anchors.cosines(), 1).detach())
        return queue_subclass_balancing(anchors, *words)

    monkeypatch.setattr(sbcl_moco, "queue_subclass_balancing", watched)
    source, rate = FixedBatches(batches, labels), float(case["lr"])
    settings = training(1, 4, rate, momentum=float(case["sgd_momentum"]))
    trainer = Trainer(method, source, settings, Constant(rate), one_process(source), stage(tmp_path))
    step, steps = trainer._step, []

    def checked(*words):
        terms, t = step(*words), len(steps)
        steps.append(terms)
        torch.testing.assert_close(terms["loss"].double(), case[f"step{t}_loss"], **SINGLE)
        torch.testing.assert_close(seen[t], case[f"step{t}_logits"], **SINGLE)
        torch.testing.assert_close(method.queue.rows.T, case[f"step{t}_queue_after"], **SINGLE)
        members = method.queue.labels
        for name, values in (("labels", labels), ("subclass", subclasses)):
            found = torch.where(members < 0, -1, values[members.clamp(min=0)])
            assert torch.equal(found, case[f"step{t}_queue_{name}_after"])
        assert int(method.queue.pointer) == int(case[f"step{t}_ptr_after"])
        for head, name in ((method.head, "qW2"), (method.momentum_encoder.layers[1], "kW2")):
            torch.testing.assert_close(head.layers[2].weight.detach(), case[f"step{t}_{name}"], **SINGLE)
        return terms

    trainer._step = checked
    trainer.fit()
    assert len(steps) == 3


def small(batch, **settings):
    torch.manual_seed(0)
    info = TrainInfo(batch.labels, int(batch.labels.max()) + 1, 20)
    defaults = {"minimum_size": 4, "projection_dim": 5, "warm_epochs": 2, "update_interval": 3, "queue_size": 50}
    return SBCLMoCo(Vectors(), info, **(defaults | settings))


def test_warm_up_draws_positives_and_then_comes_the_bi_granularity_loss():
    batch = long_tailed()
    method = small(batch)
    run = context_of(method, batch)
    for epoch in (0, 2):  # what is in the queue is what the epoch before left there
        if epoch == 2:
            method.on_epoch_start(epoch, run)
        queue, members = method.queue.rows.clone(), method.queue.labels.clone()
        queries = method.embed(batch.views[0])
        loss = method(batch, epoch, 0, run)["loss"]
        anchors = Anchors(queries, method.momentum_encoder(batch.views[1]), queue)
        labels = [int(batch.labels[m]) if m >= 0 else -1 for m in members]
        if epoch == 0:
            assert labels == [-1] * 50
            draws = torch.rand(6, len(batch.labels), generator=run.generator("positives", 0, 0))
            expected = k_positive(anchors, batch.labels, torch.tensor(labels), draws, 0.07)
        else:
            subclasses = torch.tensor([int(method.subclasses[m]) if m >= 0 else -1 for m in members])
            same = batch.labels[:, None] == torch.tensor(labels), method.subclasses[:, None] == subclasses
            expected = queue_subclass_balancing(
                anchors, *same, 0.07, method.class_temperatures[batch.labels], 0.2, 0.07
            )
        torch.testing.assert_close(loss, expected)


def test_the_loss_of_the_warm_up_has_a_base_temperature_of_its_own():
    batch = long_tailed()
    plain, halved = small(batch), small(batch, warm_base_temperature=0.14)
    halved.load_state_dict(plain.state_dict())
    losses = [method(batch, 0, 0, context_of(method, batch))["loss"] for method in (plain, halved)]
    torch.testing.assert_close(losses[1], losses[0] / 2)


def test_a_key_has_the_subclass_that_its_image_has_now():
    batch = long_tailed()
    method = small(batch, warm_epochs=0)
    run = context_of(method, batch)
    method(batch, 0, 0, run)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    losses = []
    for number in (0, 1):
        method.load_state_dict(state)
        method.subclasses.copy_(2 * batch.labels + number * (batch.indices % 2))
        losses.append(method(batch, 0, 1, run)["loss"].item())
    assert losses[0] != pytest.approx(losses[1])


def test_every_step_draws_anew():
    batch = long_tailed((60, 40))
    method = small(batch)
    run = context_of(method, batch)
    method(batch, 0, 0, run)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    losses = []
    for step in (1, 1, 2):
        method.load_state_dict(state)
        losses.append(method(batch, 0, step, run)["loss"].item())
    assert losses[0] == losses[1] != losses[2]


def test_clusters_are_those_of_the_keys():
    batch = long_tailed()
    method = small(batch)
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.mul_(-3.0)
    asked = []
    run = context_of(method, batch)
    embed = run.embed
    run.embed = lambda function, view: asked.append((embed(function, view), view)) or asked[-1][0]
    method.update(2, run)
    ((embeddings, view),) = asked
    assert view == "plain"
    torch.testing.assert_close(embeddings, method.momentum_encoder(batch.views[0]))


def test_optimiser_and_schedule_begin_anew_after_the_warm_up(tmp_path):
    assert small(long_tailed()).restart_epochs() == (2,)
    assert (
        small(long_tailed(), restart=False).restart_epochs()
        == small(long_tailed(), warm_epochs=0).restart_epochs()
        == ()
    )
    batch = long_tailed()
    source = FixedBatches([batch])
    trainer = Trainer(
        small(batch), source, training(4, 37), Cosine(0.1, epochs=2), one_process(source), stage(tmp_path)
    )
    rates = []
    step = trainer._step
    trainer._step = lambda *words: rates.append(words[3]) or step(*words)
    trainer.fit()
    assert rates == pytest.approx([0.1, 0.05, 0.1, 0.05])


@pytest.mark.parametrize("temperature", [None, 0.12])
def test_a_class_temperature_is_followed_or_constant(temperature):
    batch = long_tailed()
    method = small(batch, class_temperature=temperature)
    method.update(2, context_of(method, batch))
    found = set(method.class_temperatures.tolist())
    assert len(found) == 1 and found.pop() == pytest.approx(0.12) if temperature else len(found) > 1


@pytest.mark.parametrize(
    "settings", [{"positives": 0}, {"class_temperature": 0.0}, {"queue_size": 0}, {"momentum": 1.0}, {"views": ["a"]}]
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError) as caught:
        small(long_tailed(), **settings)
    assert [caught.value.name] == list(settings)


def test_values_of_the_authors():
    config = validate(compose(["method=sbcl_moco", "dataset=cifar100_lt", "backbone=resnet50"]))
    train, method = config.train, config.method
    assert (train.epochs, train.batch_size, train.lr, train.drop_last) == (400, 256, 0.1, True)
    assert (train.optimizer["momentum"], train.optimizer["weight_decay"]) == (0.9, 1e-4)
    assert method["warm_epochs"] == train.schedule["epochs"] == 200 and method["update_interval"] == 5
    schedule = golden("sbcl_lr", "moco")
    ours = [Cosine(0.1, 200)(epoch, 0, 1) for epoch in range(200)]
    (published,) = (value for name, value in schedule.items() if value.ndim == 1)
    torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), published, rtol=1e-9, atol=1e-11)
    info = TrainInfo(torch.arange(3), 3, 4)
    by_default = SBCLMoCo(Vectors(), info)
    assert by_default.queue.rows.shape == (65536, 128)
    assert (by_default.temperature, by_default.beta, by_default.positives) == (0.07, 0.2, 6)
    assert by_default.momentum_encoder.momentum == 0.999 and by_default.views == ("sim_blur", "sim_blur")
    assert torch.allclose(by_default.queue.rows.norm(dim=1), torch.ones(()))
    assert set(by_default.queue.labels.tolist()) == {-1}


def test_official_quirks_reach_the_method():
    clean = validate(compose(["method=sbcl_moco", "dataset=cifar100_lt", "split_seed=3"]))
    official = validate(compose(["method=sbcl_moco", "dataset=cifar100_lt", "fidelity=official", "split_seed=3"]))
    changed = {key: value for key, value in official.method.items() if clean.method.get(key) != value}
    assert changed == {
        "clustering": "kmeans_official",
        "cluster_view": "sim_blur",
        "class_temperature": 0.12,
        "kmeans_seed": 3,
    }


def test_the_large_experiment_has_the_authors_linear_classifier():
    configs = [validate(compose(words)) for words in expand(["experiment=sbcl_imagenet"])]
    both = [config for config in configs if config.stage_two.name == "cb"]
    info = TrainInfo(torch.arange(1000), 1000, 1)
    assert [config.method.get("class_temperature") for config in both] == [None, 0.12]
    for config in both:
        assert (config.dataset.name, config.backbone["name"], config.imbalance.factor) == (
            "imagenet_lt",
            "resnet50",
            None,
        )
        classifier = build(config.stage_two.parameters(), "stage_two").build(Vectors(), None, info).classifier
        assert abs(float(classifier.weight.detach().std()) / 0.01 - 1) < 0.2 and not classifier.bias.any()
        rule = config.stage_two.train
        assert (rule.batch_size, rule.sampler, rule.drop_last) == (2048, "class_aware_cut", True)
        schedule = rule.schedule
        rates = [Steps(schedule["lr"], schedule["milestones"], schedule["gamma"])(e, 0, 1) for e in range(40)]
        published = golden("cb_lr", "sbcl_imagenet")["linear_lr_per_epoch"]
        torch.testing.assert_close(torch.tensor(rates, dtype=torch.float64), published, rtol=1e-9, atol=1e-11)


def test_the_large_experiment_has_ldam_drw_on_the_same_encoders():
    configs = [validate(compose(words)) for words in expand(["experiment=sbcl_imagenet"])]
    by_rule = {rule: [config for config in configs if config.stage_two.name == rule] for rule in ("cb", "ldam_drw")}
    assert len(configs) == 4
    for left, right in zip(*by_rule.values(), strict=True):
        assert stage_one_id(left) == stage_one_id(right)
    plain = validate(compose(["method=sbcl_moco", "dataset=imagenet_lt", "stage_two=ldam_drw"])).stage_two
    assert all(config.stage_two == plain for config in by_rule["ldam_drw"])


def test_a_run_on_image_files_clusters_and_resumes(tmp_path, monkeypatch):
    image_trees.image_lists(tmp_path / "data")
    words = ["method=sbcl_moco", "method.minimum_size=3", "method.queue_size=40", "checkpoint.every_steps=1"]
    words += [*image_trees.overrides(tmp_path / "data"), "train.batch_size=16", "stage_two.train.batch_size=16"]
    undisturbed = results(*execute(tiny(tmp_path / "undisturbed", *words)))
    subclasses = undisturbed["stage one"]["subclasses"]
    assert len(subclasses.unique()) > len(image_trees.COUNTS)  # the larger classes are split
    with monkeypatch.context() as patch:
        kill_after(patch, 11)  # in the second half, after a cluster update
        with pytest.raises(Killed):
            execute(tiny(tmp_path / "killed", *words))
    assert_identical(results(*execute(tiny(tmp_path / "killed", *words))), undisturbed)
