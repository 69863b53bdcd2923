"""SBCL: three steps of the authors' training, cluster updates, both fidelities, resumable generator state."""

import numpy as np
import pytest
import torch
from helpers.engine_parts import Constant, FixedBatches, Vectors, context_of, long_tailed, one_process, stage, training
from helpers.golden_vectors import golden
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.errors import SettingError
from lt_bench.geometry.subclasses import num_subclasses
from lt_bench.losses.sbcl import subclass_balancing
from lt_bench.losses.supcon import supcon
from lt_bench.methods.sbcl import SBCL, _pack, _unpack
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.preflight.validate import validate

DEEP = {"rtol": 1e-3, "atol": 1e-4}  # a deep network in single precision


class ScriptedSBCL(SBCL):
    """Takes its subclasses and temperatures from a script, and keeps the embeddings it saw."""

    def on_epoch_start(self, epoch, run):
        if epoch >= self.warm_epochs:
            self.subclasses.copy_(self.script[epoch])
            self.class_temperatures.copy_(self.script_temperatures)

    def embed_views(self, batch):
        features = super().embed_views(batch)
        self.seen.append(features.detach())
        return features


def fill_weights(method: SBCL, seed: int) -> None:
    random = np.random.RandomState(seed)
    for module in method.encoder.modules():
        if isinstance(module, nn.Conv2d):
            weight = random.standard_normal(tuple(module.weight.shape)) * np.sqrt(2 / np.prod(module.weight.shape[1:]))
            module.weight.data = torch.from_numpy(weight.astype(np.float32))
    for module in method.head.modules():
        if isinstance(module, nn.Linear):
            weight = random.standard_normal(tuple(module.weight.shape)) / np.sqrt(module.in_features)
            module.weight.data = torch.from_numpy(weight.astype(np.float32))
            module.bias.data = torch.from_numpy((0.1 * random.standard_normal(module.out_features)).astype(np.float32))


def golden_batches(case):
    random, size, classes = np.random.RandomState(int(case["input_seed"])), int(case["batch"]), int(case["num_class"])
    for step in range(3):
        first = random.standard_normal((size, 3, 32, 32)).astype(np.float32)
        second = (first + 0.3 * random.standard_normal(first.shape)).astype(np.float32)
        labels = random.randint(0, classes, size)
        subclasses = 2 * labels + random.randint(0, 2, size)
        assert np.array_equal(labels, case[f"labels{step}"]) and np.array_equal(subclasses, case[f"subclass{step}"])
        views = (torch.from_numpy(first), torch.from_numpy(second))
        yield Batch(views, torch.from_numpy(labels), torch.arange(size)), torch.from_numpy(subclasses)


def test_three_steps_of_the_real_method_and_engine_are_the_authors(tmp_path):
    case = golden("sbcl_step", "a")
    batches, script = zip(*golden_batches(case), strict=True)
    info = TrainInfo(torch.arange(8) % 3, 3, epochs=3)
    method = ScriptedSBCL(resnet32_cifar(), info, warm_epochs=1)
    fill_weights(method, int(case["weight_seed"]))
    method.script, method.script_temperatures, method.seen = script, case["tau2_per_class"].float(), []
    source = FixedBatches(batches, info.labels)
    settings = training(
        3, 8, float(case["lr"]), momentum=float(case["momentum"]), weight_decay=float(case["weight_decay"])
    )
    trainer = Trainer(method, source, settings, Constant(float(case["lr"])), one_process(source), stage(tmp_path))
    losses = []
    step = trainer._step
    trainer._step = lambda *words: losses.append(step(*words)["loss"]) or {"loss": losses[-1]}
    trainer.fit()
    for index, loss in enumerate(losses):
        torch.testing.assert_close(loss.double(), case[f"loss{index}"].double(), rtol=1e-4, atol=0)
    views_first = method.seen[0].transpose(0, 1).flatten(0, 1)
    torch.testing.assert_close(views_first, case["projection0"].float(), **DEEP)
    for index in (1, 2):
        torch.testing.assert_close(method.seen[index][:2, 0], case[f"projection{index}"].float(), **DEEP)
    state = method.state_dict()
    convolutions = [m for m in method.encoder.modules() if isinstance(m, nn.Conv2d)]
    norm = next(m for m in method.encoder.modules() if isinstance(m, nn.BatchNorm2d))
    bias = state[[name for name in state if name.startswith("head") and name.endswith("bias")][-1]]
    for found, name in (
        (convolutions[0].weight.detach(), "conv1"),
        (bias, "head_bias"),
        (norm.weight.detach(), "bn1_weight"),
        (norm.running_mean, "bn1_running_mean"),
        (norm.running_var, "bn1_running_var"),
    ):
        torch.testing.assert_close(found, case[f"{name}_after"].float(), **DEEP)
    assert int(norm.num_batches_tracked) == int(case["bn1_num_batches"])


def small(batch, **settings):
    torch.manual_seed(0)
    info = TrainInfo(batch.labels, int(batch.labels.max()) + 1, 20)
    defaults = {"minimum_size": 4, "projection_dim": 5, "warm_epochs": 2, "update_interval": 3}
    return SBCL(Vectors(), info, **(defaults | settings))


@pytest.mark.parametrize("rule", ["balanced", "balanced_paper", "balanced_official", "kmeans_official"])
def test_an_update_splits_each_class_into_its_number_of_subclasses(rule):
    batch = long_tailed()
    method = small(batch, clustering=rule)
    method.update(2, context_of(method, batch))
    assert method.clusters_per_class.tolist() == num_subclasses(torch.tensor([24, 9, 4]), 4).tolist() == [6, 2, 1]
    offset = 0
    for label, groups in enumerate(method.clusters_per_class.tolist()):
        own = method.subclasses[batch.labels == label]
        assert set(own.tolist()) <= set(range(offset, offset + groups))
        if rule == "balanced":
            sizes = torch.bincount(own - offset, minlength=groups)
            assert sizes.max() - sizes.min() <= 1
        offset += groups
    assert method.class_temperatures[2] == pytest.approx(0.1)  # a class with one subclass keeps the base temperature
    assert torch.isfinite(method.class_temperatures).all()


def test_updates_come_at_the_end_of_the_warm_up_and_at_the_interval():
    batch = long_tailed()
    method = small(batch)
    updates = []
    method.update = lambda epoch, run: updates.append(epoch)
    for epoch in range(10):
        method.on_epoch_start(epoch, None)
    assert updates == [2, 3, 6, 9]  # 2: the warm-up's end, although 3 does not divide it


def test_warm_up_is_supcon_and_then_comes_the_bi_granularity_loss():
    batch = long_tailed()
    method, run = small(batch), one_process(FixedBatches([batch]))
    run.module = method
    features = method.embed_views(batch)
    warm = method(batch, 1, 0, run)["loss"]
    torch.testing.assert_close(warm, supcon(features, batch.labels, 0.1, 0.1))
    method.update(2, run)
    expected = subclass_balancing(features, batch.labels, method.subclasses, 0.1, method.class_temperatures, 0.25, 0.07)
    torch.testing.assert_close(method(batch, 2, 0, run)["loss"], expected)


@pytest.mark.parametrize(("base", "factor"), [(None, 1.0), (0.05, 4.0)])
def test_the_loss_of_the_warm_up_has_a_base_temperature_of_its_own(base, factor):
    batch = long_tailed()
    method, run = small(batch, temperature=0.2, warm_base_temperature=base), one_process(FixedBatches([batch]))
    expected = factor * supcon(method.embed_views(batch), batch.labels, 0.2, 0.2)
    torch.testing.assert_close(method(batch, 1, 0, run)["loss"], expected)


def test_the_laws_of_temperature_differ_and_the_exponential_one_exceeds_the_base():
    batch = long_tailed(counts=(24, 16, 12, 4))
    temperatures = {}
    for law in ("linear_clipped", "exponential"):
        method = small(batch, temperature_law=law)
        method.update(2, context_of(method, batch))
        temperatures[law] = method.class_temperatures
    assert (temperatures["exponential"][:3] > 0.1).all()
    split = temperatures["linear_clipped"][:3]
    assert split.min() < 0.1 < split.max()


def test_official_quirks_reach_the_method_and_the_schedule():
    clean = validate(compose(["method=sbcl", "dataset=cifar100_lt"]))
    official = validate(compose(["method=sbcl", "dataset=cifar100_lt", "fidelity=official", "split_seed=3"]))
    changed = {key: value for key, value in official.method.items() if clean.method.get(key) != value}
    assert changed == {
        "clustering": "kmeans_official",
        "cluster_view": "simclr",
        "distance_epsilon": 1e-6,
        "subclass_temperature": 0.1,
        "kmeans_seed": 3,
    }
    assert official.train.schedule["warmup_mode"] == "official"
    assert official.fidelity == "official"


def test_official_class_term_follows_the_option_and_the_subclass_term_does_not():
    batch = long_tailed()
    method = small(batch, temperature=0.2, subclass_temperature=0.1)
    run = context_of(method, batch)
    method.update(2, run)
    features = method.embed_views(batch)
    expected = subclass_balancing(features, batch.labels, method.subclasses, 0.1, method.class_temperatures, 0.25, 0.07)
    torch.testing.assert_close(method(batch, 2, 0, run)["loss"], expected)
    assert method.class_temperatures[2] == pytest.approx(0.2)


def test_the_k_means_generator_goes_on_from_update_to_update_and_through_a_checkpoint():
    batch = long_tailed()
    method = small(batch, clustering="kmeans_official", kmeans_seed=5)
    run = context_of(method, batch)
    expected = np.random.RandomState(5)
    for epoch in (2, 3):
        method.update(epoch, run)
        for count, groups in ((24, 6), (9, 2)):
            expected.choice(count, groups, replace=False)
        assert torch.equal(method.kmeans_state, _pack(expected))
    again = small(batch, clustering="kmeans_official")
    again.load_state_dict(method.state_dict())
    assert _unpack(again.kmeans_state).randint(1 << 30) == expected.randint(1 << 30)


def test_class_sorted_data_is_not_needed():
    batch = long_tailed()
    order = torch.argsort(batch.labels, stable=True)
    sorted_batch = Batch(tuple(view[order] for view in batch.views), batch.labels[order], batch.indices)
    results = []
    for one in (batch, sorted_batch):
        method = small(one)
        method.update(2, context_of(method, one))
        results.append(method.subclasses)
    assert torch.equal(results[0][order], results[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {"warm_base_temperature": 0.0},
        {"update_interval": 0},
        {"warm_epochs": -1},
        {"kmeans_seed": -1},
    ],
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))} is "):
        small(long_tailed(), **settings)


def test_recipes_of_both_cifar_sets_differ_where_the_sources_do():
    recipes = {c: validate(compose(["method=sbcl", f"dataset=cifar{c}_lt"])) for c in (10, 100)}
    for recipe in recipes.values():
        assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.lr) == (1000, 1024, 0.5)
        assert recipe.method["warm_epochs"] == 10 and recipe.method["minimum_size"] == 10
    assert recipes[10].method["update_interval"] == 100
    assert recipes[100].method["update_interval"] == 10
