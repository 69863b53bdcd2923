"""KCL: positives are drawn anew in every step and equal on all ranks; network, rates and recipe are the authors'."""

import pytest
import torch
from helpers.engine_parts import FixedBatches, Vectors, context_of, long_tailed, one_process, stage, training
from helpers.golden_vectors import golden

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.schedules import KCLCosine
from lt_bench.errors import SettingError
from lt_bench.launch.planning.plan import expand
from lt_bench.losses.kcl import k_positives_in_batch
from lt_bench.losses.supcon import supcon
from lt_bench.methods.kcl import KCL
from lt_bench.models.resnet_cifar import resnet32_cifar
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build

BATCH = long_tailed()


def small(**settings):
    torch.manual_seed(0)
    return KCL(Vectors(), TrainInfo(BATCH.labels, 3, 10), **({"projection_dim": 5} | settings))


def test_positives_are_drawn_anew_in_every_step():
    method = small()
    run = context_of(method, BATCH)
    losses = [method(BATCH, epoch, step, run)["loss"].item() for epoch, step in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert losses[0] == losses[1] and len(set(losses)) == 3
    draws = torch.rand(6, 2 * len(BATCH.labels), generator=run.generator("positives", 0, 0))
    expected = k_positives_in_batch(method.embed_views(BATCH), BATCH.labels, draws, 0.07)
    assert losses[0] == pytest.approx(expected.item())


def test_without_a_number_all_of_the_class_are_positives():
    method = small(positives=0)
    loss = method(BATCH, 0, 0, context_of(method, BATCH))["loss"]
    torch.testing.assert_close(loss, supcon(method.embed_views(BATCH), BATCH.labels, 0.07, 0.07))
    assert (method.phase(0), small().phase(0)) == (0, None)


def test_five_steps_of_the_trainer_are_those_of_a_plain_loop(tmp_path):
    method, other = small().double(), small().double()
    batch = BATCH._replace(views=tuple(view.double() for view in BATCH.views))
    source = FixedBatches([batch])
    rates = KCLCosine(0.5, 5, warm_epochs=2)
    settings = training(5, len(batch.labels), 0.5, momentum=0.9, weight_decay=1e-4)
    run = one_process(source)
    Trainer(method, source, settings, rates, run, stage(tmp_path)).fit()
    optimizer = torch.optim.SGD(other.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4)
    for epoch in range(5):
        optimizer.param_groups[0]["lr"] = rates(epoch, 0, 1)
        draws = torch.rand(6, 2 * len(batch.labels), generator=run.generator("positives", epoch, 0))
        optimizer.zero_grad()
        k_positives_in_batch(other.embed_views(batch), batch.labels, draws, 0.07).backward()
        optimizer.step()
    for name, value in other.state_dict().items():
        torch.testing.assert_close(method.state_dict()[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settings", [{"positives": -1}, {"temperature": 0.0}, {"projection_dim": 0}, {"views": ["a"]}])
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingError) as caught:
        small(**settings)
    assert [caught.value.name] == list(settings)


def test_network_of_the_authors():
    counts = golden("tsc_networks")
    method = KCL(resnet32_cifar(), TrainInfo(torch.arange(3), 3, 1))
    assert sum(parameter.numel() for parameter in method.head.parameters()) == int(counts["cifar_head"])
    whole = sum(parameter.numel() for parameter in method.parameters())
    assert whole == int(counts["cifar_resnet32_with_unused_linear"]) - int(counts["cifar_resnet32_unused_linear"])


def test_values_and_rates_of_the_authors():
    for dataset in ("cifar10_lt", "cifar100_lt"):
        config = validate(compose(["method=kcl", f"dataset={dataset}"]))
        train, method = config.train, config.method
        assert (train.epochs, train.batch_size, train.lr, train.drop_last) == (1000, 1024, 0.5, False)
        assert (train.optimizer["momentum"], train.optimizer["weight_decay"]) == (0.9, 1e-4)
        assert (method["temperature"], method["positives"], config.stage_two.name) == (0.07, 6, "ldam_drw")
    schedule, rates = build(train.schedule, "train.schedule"), golden("tsc_lr")
    exact = [[schedule(epoch, step, 11) for step in range(11)] for epoch in range(12)]
    executed = torch.tensor(exact, dtype=torch.float64)
    torch.testing.assert_close(executed, rates["cifar_1000_first12_epochs"], rtol=1e-9, atol=0.0)
    later = torch.tensor([schedule(epoch, 0, 11) for epoch in range(10, 1000)])
    torch.testing.assert_close(later, rates["cifar_1000_per_epoch_1based"][10:], rtol=1e-6, atol=0.0)
    assert schedule._cosine(10) == pytest.approx(float(rates["cifar_1000_warmup_to"]), rel=1e-9)


def test_the_experiment_is_the_table():
    runs = expand(["experiment=tsc_cifar"])
    assert len(runs) == 2 * 2 * 3 * 5
    for words in (runs[0], runs[-1]):
        config = validate(compose(words))
        rule = config.stage_two
        assert (rule.name, rule.train.epochs, rule.train.schedule["milestones"]) == ("ldam_drw", 200, [140, 180, 190])
        assert (config.train.epochs, config.backbone["name"]) == (1000, "resnet32_cifar")
