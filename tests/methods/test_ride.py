"""RIDE: the authors' trace, rates and recipes, and a teacher from another run's folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.chain import tiny
from helpers.engine_parts import FixedBatches, one_process
from helpers.experts import follow
from helpers.golden_vectors import FOLDER, golden
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.losses.ldam import ldam_margins
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.losses.ride import class_temperatures, distillation
from lt_bench.methods.experts import Experts
from lt_bench.methods.ride import RIDE
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import run_id
from lt_bench.run.execute import execute

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([12, 5, 3]))
BATCH = Batch((torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(20))
RUN = one_process(FixedBatches([BATCH]))


def built(**values):
    torch.manual_seed(0)
    return RIDE(TinyEncoder(), TrainInfo(LABELS, 3, 10), experts=Experts(2), **values)


def test_trains_as_the_authors_code_does(tmp_path):
    case = golden("experts_step_ride")
    counts, factor = case["counts"], float(case["reweight_factor"])
    buffers = {
        "criterion.temperatures": class_temperatures(counts, factor, 1.0),
        "criterion.individual.margins": ldam_margins(counts, 0.5),
        "criterion.individual.weights.weights": effective_number_weights(counts, 0.9999),
    }
    values = {"diversity_factor": float(case["diversity_factor"]), "reweight_factor": factor}
    values["drw_start_epoch"] = int(case["reweight_epoch_one_based"])
    follow("experts_step_ride", RIDE, tmp_path, buffers, **values)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dataset=cifar100_lt"], "ride_cifar_200"),
        (["dataset=cifar100_lt", "train.schedule.warm_epochs=20"], "ride_cifar_distill_200"),
        (["dataset=imagenet_lt"], "ride_imagenet_100"),
        (["dataset=inat18"], "ride_inat_100"),
    ],
)
def test_rates_are_the_authors(words, name):
    train = validate(compose(["method=ride", *words])).train
    schedule, expected = build(train.schedule, "train.schedule"), np.load(FOLDER / "experts_lr.npz")[name]
    np.testing.assert_allclose([schedule(epoch, 0, 10) for epoch in range(train.epochs)], expected, rtol=1e-12)


@pytest.mark.parametrize("repeated", [False, True])
def test_a_teacher_adds_what_it_disagrees_about(repeated):
    plain, taught = built(), built(teacher="runs/x", repeated_loss=repeated)
    with pytest.raises(TypeError, match="learn_from"):
        taught(BATCH, 0, 0, RUN)
    encoder, classifier = TinyEncoder(), nn.Linear(64, 3)
    taught.learn_from(encoder, classifier, 3)
    assert taught.train().teacher.training is False and not any(one.requires_grad for one in encoder.parameters())
    loss, expected = taught(BATCH, 0, 0, RUN)["loss"], plain.train()(BATCH, 0, 0, RUN)["loss"]
    again = built().train()
    logits = again.classifier.expert_logits(again.encoder(BATCH.views[0]))
    expected = expected + distillation(logits, classifier(encoder.eval()(BATCH.views[0])), 1.5).mean()
    torch.testing.assert_close(loss, (2 if repeated else 1) * expected)


def test_a_teacher_of_other_classes_is_refused():
    with pytest.raises(SettingError, match="teacher is a run with the 3 classes"):
        built(teacher="runs/x").learn_from(TinyEncoder(), nn.Linear(64, 4), 4)
    with pytest.raises(SettingError, match="distill_temperature is above 0"):
        built(distill_temperature=0.0)


def test_a_run_learns_from_the_folder_of_another_and_is_known_by_its_content(tmp_path):
    words = ("method=ride", "dataset=digits_lt", "method.experts.count=2", "train.epochs=2", "method.drw_start_epoch=1")
    words = (*words, "train.schedule.milestones=[1]", "train.schedule.warm_epochs=0")
    first, folder = execute(tiny(tmp_path, *words))
    config = tiny(tmp_path, *words, f"method.teacher={folder}")
    second, _ = execute(config)
    assert second.settings["method.teacher"].startswith("sha256:") and first.run_id != second.run_id
    folder.rename(tmp_path / "moved")
    assert run_id(replace(config, method={**config.method, "teacher": str(tmp_path / "moved")})) == second.run_id
    with pytest.raises(UsageError, match="method.teacher=.* cannot be read; set method.teacher=a folder of a finished"):
        run_id(config)
