"""MiSLAS as stage two: the authors' traces with shifted and with frozen batch norm, their rates, and what it needs."""

import numpy as np
import pytest
import torch
from helpers.chain import execute, tiny
from helpers.engine_parts import Constant, FixedBatches, Pictures, Vectors, one_process, stage, training
from helpers.golden_vectors import FOLDER, golden
from helpers.mixing_steps import follow
from torch import nn

import lt_bench
from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.errors import SettingError, UsageError
from lt_bench.models.finetuned import FineTuned
from lt_bench.models.heads import NormalizedLinear
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build
from lt_bench.stage_two.mislas import MiSLAS

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([12, 5, 3]))
INFO = TrainInfo(LABELS, 3, 10)
NAMES = {"classifier": "classifier.linear", "scales": "classifier.scales"}


@pytest.mark.parametrize("shift", [True, False])
def test_trains_as_the_authors_code_does(shift, tmp_path):
    file = "mixing_step_mislas_stage2" if shift else "mixing_step_mislas_stage2_frozen"
    case = golden(file)
    values = {name: float(case[name]) for name in ("smooth_head", "smooth_tail", "lr_factor")}
    epochs = case["epochs"].repeat_interleave(int(case["steps"]) // len(case["epochs"])).tolist()

    def kind(encoder, info):
        return MiSLAS(shift_bn=shift, **values).build(encoder, nn.Linear(6, info.num_classes), info)

    follow(file, kind, tmp_path, epochs, names=NAMES)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.2, ("dataset=cifar100_lt",)),
        (0.1, ("dataset=cifar100_lt", "imbalance=if10")),
        (0.5, ("dataset=cifar10_lt",)),
        (0.05, ("dataset=imagenet_lt",)),
    ],
)
def test_rates_of_classifier_and_scales_are_the_authors(factor, words):
    rule = validate(compose(["method=mislas", *words])).stage_two
    schedule = build(rule.train.schedule, "stage_two.train.schedule")
    method = build(rule.parameters(), "stage_two").build(Pictures(6), nn.Linear(6, 3), INFO)
    shares = {group.name: group.lr_factor for group in method.parameter_groups()}
    assert shares == {"classifier": factor, "scales": 1.0}
    rates = [[share * schedule(epoch, 0, 10) for share in shares.values()] for epoch in range(rule.train.epochs)]
    np.testing.assert_allclose(rates, np.load(FOLDER / "mixing_lr.npz")[f"mislas_stage2_factor_{factor}"], rtol=1e-6)


def test_stage_ones_classifier_is_copied_and_of_the_encoder_running_statistics_move_alone(tmp_path):
    trained = nn.Linear(6, 3)
    before = trained.weight.detach().clone()
    method = MiSLAS().build(Pictures(6), trained, INFO)
    first = {name: value.clone() for name, value in method.state_dict().items()}
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    source = FixedBatches([Batch((images,), LABELS, torch.arange(20))])
    Trainer(method, source, training(1, 20), Constant(0.1), one_process(source), stage(tmp_path)).fit()
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, first[name])}
    statistics = {f"encoder.bn.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == statistics | {f"classifier.{name}" for name in ("linear.weight", "linear.bias", "scales")}
    assert torch.equal(trained.weight, before)
    assert method.train().encoder.bn.training and not method.encoder.training and not method.eval().encoder.bn.training


def test_what_is_kept_has_the_shifted_statistics(tmp_path):
    """What is evaluated too: tests/predict compares both bit for bit."""
    record, folder = execute(tiny(tmp_path, "method=ce", "stage_two=mislas"))
    below = torch.load(tmp_path / record.stage_one_id / "checkpoint.pt", weights_only=True)["model"]
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    kept = lt_bench.load(folder).encoder.state_dict()
    moved = {name for name, value in kept.items() if not torch.equal(value, below[f"encoder.{name}"])}
    assert moved and all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in moved)
    assert all(torch.equal(value, state[f"encoder.{name}"]) for name, value in kept.items())


@pytest.mark.parametrize("classifier", [None, NormalizedLinear(8, 3)])
def test_needs_a_linear_classifier(classifier):
    with pytest.raises(UsageError, match="stage_two=mislas .* set stage_two=cb"):
        MiSLAS().build(Pictures(6), classifier, INFO)


def test_networks_whose_batch_norms_cannot_follow_are_refused():
    for encoder in (Vectors(), FineTuned(Pictures(6), "head")):
        linear = nn.Linear(encoder.feature_dim, 3)
        with pytest.raises(SettingError, match="shift_bn"):
            MiSLAS().build(encoder, linear, INFO)
        assert MiSLAS(shift_bn=False).build(encoder, linear, INFO)


@pytest.mark.parametrize("wrong", [{"augment": False}, {"lr_factor": 0.0}, {"lr_factor": -1.0}, {"smooth_head": 2.0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError):
        MiSLAS(**wrong).build(Pictures(6), nn.Linear(6, 3), INFO)
