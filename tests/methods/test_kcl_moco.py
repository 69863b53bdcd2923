"""KCL with a queue: draws anew in every step, a queue of labels, what the queue starts with, networks and rates."""

import numpy as np
import pytest
import torch
from helpers.engine_parts import FixedBatches, Identity, Vectors, context_of, long_tailed, one_process, stage, training
from helpers.golden_vectors import golden

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.schedules import Cosine
from lt_bench.errors import SettingError
from lt_bench.launch.planning.plan import expand
from lt_bench.losses.kcl_moco import k_positive
from lt_bench.losses.queue import Anchors
from lt_bench.methods.kcl_moco import KCLMoCo
from lt_bench.models.momentum import MomentumEncoder
from lt_bench.models.resnet import resnet50
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

BATCH = long_tailed()
SIZE = len(BATCH.labels)


def small(**settings):
    torch.manual_seed(0)
    return KCLMoCo(Vectors(), TrainInfo(BATCH.labels, 3, 10), **({"projection_dim": 5, "queue_size": 50} | settings))


def test_the_loss_is_that_against_the_queue_as_it_was():
    method = small()
    run = context_of(method, BATCH)
    for step in range(2):
        queue, labels = method.queue.rows.clone(), method.queue.labels.clone()
        queries = method.embed(BATCH.views[0])
        loss = method(BATCH, 0, step, run)["loss"]
        keys = method.momentum_encoder(BATCH.views[1])
        draws = torch.rand(6, SIZE, generator=run.generator("positives", 0, step))
        anchors = Anchors(queries, keys, queue)
        torch.testing.assert_close(loss, k_positive(anchors, BATCH.labels, labels, draws, 0.07, "distinct"))
        assert (labels >= 0).sum() == step * SIZE
    assert torch.equal(method.queue.labels, BATCH.labels.repeat(2)[-50:].roll(2 * SIZE % 50))


def test_positives_are_drawn_anew_in_every_step_unless_none_are():
    for settings, phase in (({}, None), ({"positives": 0}, 0), ({"sampling": "first"}, 0)):
        method = small(**settings)
        run = context_of(method, BATCH)
        method(BATCH, 0, 0, run)
        state, losses = {key: value.clone() for key, value in method.state_dict().items()}, []
        for step in (1, 1, 2):
            method.load_state_dict(state)
            losses.append(method(BATCH, 0, step, run)["loss"].item())
        assert losses[0] == losses[1] and (losses[1] == losses[2]) == (phase == 0)
        assert method.phase(0) == phase


def test_five_steps_of_the_trainer_are_those_of_a_plain_loop(tmp_path):
    method, other = small(momentum=0.9).double(), small(momentum=0.9).double()
    batch = BATCH._replace(views=tuple(view.double() for view in BATCH.views))
    source, rates = FixedBatches([batch]), Cosine(0.5, 5)
    settings = training(5, SIZE, 0.5, momentum=0.9, weight_decay=1e-4)
    run = one_process(source)
    Trainer(method, source, settings, rates, run, stage(tmp_path)).fit()
    trained = [*other.encoder.parameters(), *other.head.parameters()]
    optimizer = torch.optim.SGD(trained, lr=1.0, momentum=0.9, weight_decay=1e-4)
    rows, labels = list(other.queue.rows), [-1] * 50
    keys_of, place = MomentumEncoder(other.encoder, other.head, momentum=0.9), 0
    for epoch in range(5):
        optimizer.param_groups[0]["lr"] = rates(epoch, 0, 1)
        draws = torch.rand(6, SIZE, generator=run.generator("positives", epoch, 0))
        queries = other.embed(batch.views[0])
        keys_of.update(other.encoder, other.head)
        keys = keys_of(batch.views[1])
        anchors = Anchors(queries, keys, torch.stack(rows))
        optimizer.zero_grad()
        k_positive(anchors, batch.labels, torch.tensor(labels), draws, 0.07, "distinct").backward()
        optimizer.step()
        for key, label in zip(keys, batch.labels.tolist(), strict=True):
            rows[place], labels[place], place = key, label, (place + 1) % 50
    for name in ("encoder", "head"):
        for key, value in getattr(other, name).named_parameters():
            torch.testing.assert_close(method.get_parameter(f"{name}.{key}"), value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(method.queue.rows, torch.stack(rows))
    assert method.queue.labels.tolist() == labels


def test_the_queue_may_start_with_keys_of_the_untrained_network():
    method, later = small(prefill=True), small(prefill=True)
    run = context_of(method, BATCH)
    method.on_epoch_start(0, run)
    assert sorted(method.queue.labels.tolist()) == sorted([*BATCH.labels.tolist(), *[-1] * (50 - SIZE)])
    filled = method.queue.labels >= 0
    keys = method.momentum_encoder(BATCH.views[0])
    for row, label in zip(method.queue.rows[filled], method.queue.labels[filled], strict=True):
        nearest = (keys - row).norm(dim=1).argmin()
        torch.testing.assert_close(keys[nearest], row)
        assert BATCH.labels[nearest] == label
    later.on_epoch_start(1, context_of(later, BATCH))
    assert set(later.queue.labels.tolist()) == {-1}
    assert method.queue.labels[filled].tolist() != BATCH.labels.tolist()  # in another order


def test_a_queue_that_is_shorter_than_the_data_is_filled_whole():
    method = small(prefill=True, queue_size=10)
    method.on_epoch_start(0, context_of(method, BATCH))
    assert (method.queue.labels >= 0).all()
    torch.testing.assert_close(method.queue.rows.norm(dim=1), torch.ones(10))


REFUSED = [
    *({"positives": -1}, {"temperature": 0.0}, {"queue_size": 0}, {"momentum": 1.0}, {"views": ["a"]}),
    *({"sampling": "top"}, {"hidden_layers": -1}),
]


@pytest.mark.parametrize("settings", REFUSED)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError) as caught:
        small(**settings)
    assert [caught.value.name] == list(settings)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_networks_of_the_authors():
    counts, info = golden("tsc_networks"), TrainInfo(torch.arange(3), 3, 1)
    with torch.device("meta"):
        assert size(resnet50()) == int(counts["moco_resnet50_backbone"])
        assert size(KCLMoCo(Identity(2048), info).head) == int(counts["moco_mlp_head"])
        assert size(KCLMoCo(Identity(2048), info, hidden_layers=0).head) == int(counts["original_kcl_linear_head"])
    by_default = KCLMoCo(Vectors(), info)
    assert by_default.queue.rows.shape == (65536, 128) and by_default.momentum_encoder.momentum == 0.999
    assert (by_default.temperature, by_default.positives, by_default.views) == (0.07, 6, ("jitter", "jitter"))
    assert set(by_default.queue.labels.tolist()) == {-1}


def config(*words):
    return validate(compose(words))


def rates(schedule, epochs):
    schedule = build(schedule, "train.schedule")
    return torch.tensor([schedule(epoch, 0, 10) for epoch in range(epochs)], dtype=torch.float64)


def test_values_and_rates_of_the_authors():
    for dataset, epochs, views in (("imagenet_lt", 200, None), ("inat18", 400, ["crop_flip", "crop_flip"])):
        found = config("method=kcl_moco", f"dataset={dataset}")
        train, method = found.train, found.method
        assert (train.epochs, train.batch_size, train.lr, train.drop_last) == (epochs, 256, 0.1, True)
        assert (train.optimizer["momentum"], train.optimizer["weight_decay"]) == (0.9, 1e-4)
        assert (method["temperature"], method["positives"], method.get("views")) == (0.07, 6, views)
        assert found.stage_two.name == "cb"
    published = golden("tsc_lr")["kcl_imagenet_200"]
    train = config("method=kcl_moco", "dataset=imagenet_lt").train
    torch.testing.assert_close(rates(train.schedule, 200), published, rtol=1e-9, atol=1e-11)


def test_the_official_form_is_that_of_its_own_code():
    clean, official = (
        config("method=kcl_moco", "dataset=imagenet_lt", f"fidelity={word}") for word in ("clean", "official")
    )
    changed = {key: value for key, value in official.method.items() if clean.method.get(key) != value}
    views = ["crop_flip", "crop_flip"]
    assert changed == {"hidden_layers": 0, "sampling": "first", "prefill": True, "views": views}
    assert (clean.train.optimizer["weight_decay"], official.train.optimizer["weight_decay"]) == (1e-4, 5e-4)


def test_the_experiments_have_the_authors_classifiers():
    published = golden("tsc_lr")
    table = expand(["experiment=tsc_imagenet_lt"])
    assert len(table) == 5
    for words in (table[0], table[-1]):
        rule = validate(compose(words)).stage_two
        assert (rule.name, rule.train.batch_size, rule.train.sampler) == ("cb", 2048, "class_aware_cut")
        assert rule.options["initial_std"] == 0.01 and rule.train.optimizer["weight_decay"] == 0
        torch.testing.assert_close(rates(rule.train.schedule, 40), published["linear_imagenet_40"], rtol=1e-9, atol=0.0)
    rule = validate(compose(expand(["experiment=tsc_inat18"])[-1])).stage_two
    torch.testing.assert_close(rates(rule.train.schedule, 40), published["linear_inat_40"], rtol=1e-9, atol=0.0)
    (words,) = expand(["experiment=kcl_imagenet_lt"])
    found = validate(compose(words))
    rule = found.stage_two
    assert (found.fidelity, rule.name, rule.options["train_split"]) == ("official", "linear_probe", "train")
    assert (rule.train.batch_size, rule.train.optimizer["_target_"], rule.train.sampler) == (
        256,
        "torch.optim.SGD",
        "shuffle",
    )
    expected = published["original_kcl_linear_100"]
    torch.testing.assert_close(rates(rule.train.schedule, 100), expected, rtol=1e-9, atol=0.0)
    assert np.isclose(float(expected[0]), 30)
