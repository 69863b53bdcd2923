"""Linear probe: the authors' weights, logits and accuracies; its labels; the probe of SDCLR in other words."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.chain import execute, tiny
from helpers.engine_parts import Vectors, one_process, stage
from helpers.golden_vectors import golden
from helpers.samples import predictions
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import TrainInfo
from lt_bench.data.batches.in_memory import CachedFeatures
from lt_bench.engine.loop import Trainer
from lt_bench.engine.predict import classify
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.preflight.validate import validate
from lt_bench.run.build import build
from lt_bench.stage_two.linear_probe import LinearProbe

CONF = Path(__file__).parents[2] / "conf" / "stage_two" / "linear_probe.yaml"


def assert_near(found, expected):
    """The tolerance that belongs to the golden file."""
    bound = 1e-4 * (1 + expected.abs().max().item())
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("name", ["c0", "c1"])
def test_weights_logits_and_accuracies_are_the_authors(name, tmp_path):
    case = golden("gh_probe", name)
    classes, width = case["init_weight"].shape
    words = ["stage_two=linear_probe", *(f"stage_two.train.{key}={int(case[key])}" for key in ("epochs", "batch_size"))]
    training = validate(compose(words)).stage_two.train
    rule = LinearProbe()
    method = rule.build(Vectors(feature_dim=width), None, TrainInfo(case["y_train"], classes, 1))
    method.classifier.load_state_dict({"weight": case["init_weight"], "bias": case["init_bias"]})
    source = CachedFeatures(case["x_train"], case["y_train"])
    schedule = build(training.schedule, "stage_two.train.schedule")
    trainer = Trainer(method, source, training, schedule, one_process(source), stage(tmp_path))
    trainer.order = lambda epoch: case["permutations"][epoch].long()
    trainer.fit()
    classifier = rule.finish(method, one_process(source))
    assert_near(classifier.weight, case["final_weight"])
    assert_near(classifier.bias, case["final_bias"])
    logits = classify(classifier, case["x_test"][:, None], 500)
    assert_near(logits, case["test_logits"])
    metrics = evaluate(predictions(logits.numpy(), case["y_test"].numpy(), np.ones(classes, dtype=np.int64)))
    assert [metrics["top1"], metrics["top5"]] == pytest.approx([float(case["top1"]), float(case["top5"])], rel=1e-6)
    np.testing.assert_allclose(100 * np.array(metrics["per_class_accuracy"], float), case["per_class_accuracy"])


def test_its_recipe_is_that_of_the_papers():
    training = validate(compose(["dataset=cifar100_lt", "method=ce", "stage_two=linear_probe"])).stage_two.train
    assert training is not None
    optimizer = training.optimizer
    assert (training.epochs, training.batch_size, training.sampler, training.drop_last) == (500, 1000, "shuffle", False)
    assert training.lr == 0.01
    assert optimizer == {"_target_": "torch.optim.Adam", "betas": [0.9, 0.999], "weight_decay": 5e-6}
    schedule = build(training.schedule, "stage_two.train.schedule")
    assert schedule(1, 0, 50) / schedule(0, 0, 50) == pytest.approx(1e-4 ** (1 / 500))


def images_of_an_epoch(tmp_path, *words):
    """How many labelled images a probe visits."""
    whole = ("budget.max_steps_per_epoch=null", "train.epochs=2", "stage_two.train.epochs=2")
    _, folder = execute(tiny(tmp_path, "method=ce", "stage_two=linear_probe", *whole, *words))
    return torch.load(folder / "checkpoint.pt", weights_only=True)["position"]["images"] / 2


def test_its_labels_are_those_of_every_image_that_is_not_held_out(tmp_path):
    everything = images_of_an_epoch(tmp_path)
    assert everything == 1797 - 500 - 97  # at most 120 a class
    assert images_of_an_epoch(tmp_path, "stage_two.train_split=train") == 405
    assert images_of_an_epoch(tmp_path, "dataset.validation_per_class=20") == everything - 200
    assert images_of_an_epoch(tmp_path, "dataset.pool_per_class=50") == 500


def test_the_encoder_and_its_identity_know_nothing_of_the_probe(tmp_path):
    words = ("stage_two=cb", "stage_two=linear_probe", "stage_two=few_shot_probe")
    records = [execute(tiny(tmp_path, "method=supcon", word))[0] for word in words]
    assert len({record.stage_one_id for record in records}) == 1
    below = tmp_path / records[0].stage_one_id
    trained = torch.load(below / "checkpoint.pt", weights_only=True)["model"]
    probed = torch.load(tmp_path / records[1].run_id / "checkpoint.pt", weights_only=True)["model"]
    for name, value in probed.items():
        if name.startswith("encoder."):
            assert torch.equal(value, trained[name]), name


def test_the_crop_of_the_training_images_is_drawn_once(tmp_path, monkeypatch):
    seen = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: seen.append(self) or fit(self))
    views = ("plain", "crop_flip")
    runs = [execute(tiny(tmp_path, "method=ce", "stage_two=linear_probe", f"stage_two.train_view={v}")) for v in views]
    _, *probes = seen  # stage one is trained once
    assert all(probe.method.views == ("features",) and probe.state.epoch > 1 for probe in probes)
    plain, cropped = (probe.source for probe in probes)
    assert isinstance(cropped, CachedFeatures) and plain.features.shape == cropped.features.shape
    assert torch.equal(plain.labels, cropped.labels) and not torch.equal(plain.features, cropped.features)
    logits = [load_predictions(folder / "predictions.npz").logits for _, folder in runs]
    assert not np.array_equal(*logits)


def test_the_probe_of_sdclr_is_this_rule_in_other_words(tmp_path):
    comment = CONF.read_text().split("is this rule with\n")[1]
    words = re.findall(r"[\w~.]+(?:=\S+)?", comment.replace("#", ""))
    assert len(words) == 9
    config = tiny(tmp_path, "method=ce", "stage_two=linear_probe", *words)
    training = config.stage_two.train
    schedule = build(training.schedule, "stage_two.train.schedule")
    rates = [schedule(epoch, 0, 1) for epoch in range(30)]
    assert rates == pytest.approx([30.0] * 9 + [3.0] * 10 + [0.3] * 11)
    optimizer = training.optimizer
    assert (training.epochs, training.batch_size, optimizer["_target_"]) == (30, 128, "torch.optim.SGD")
    assert (optimizer["momentum"], optimizer["weight_decay"]) == (0.9, 0.0)
    record, _ = execute(config)
    assert record.selection == "best_validation" and record.stage_two_name == "Linear"


def test_a_probe_of_a_supervised_method_begins_anew():
    linear = nn.Linear(8, 3)
    method = LinearProbe().build(Vectors(), linear, TrainInfo(torch.arange(3), 3, 1))
    assert method.classifier is not linear and method.classifier.bias is not None
    assert not any(parameter.requires_grad for parameter in method.encoder.parameters())
