"""Zero-shot: logits by names of classes, through a run and its predictor; an encoder that is trained is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.chain import tiny
from helpers.configs import refusal

import lt_bench
from lt_bench.errors import DataError, UsageError
from lt_bench.evaluation.features import FEATURES, load_features
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.models.text_features import TextFeatures
from lt_bench.record.identity import identities, run_id
from lt_bench.run.execute import execute
from lt_bench.stage_two.zero_shot import TextClassifier

CLASS = "lt_bench.stage_two.zero_shot.ZeroShot"
RULE = ("stage_two.name=zero_shot", "stage_two.title=zero-shot", f"stage_two._target_={CLASS}")
WORDS = ("method=lift", "finetune=head", "method.finetune.start=none", "evaluation.save_features=true", "threads=1")
WIDTH, JOINT = 64, 5


def arrays(**others):
    drawn = np.random.RandomState(0)
    names = [str(label) for label in reversed(range(10))]
    texts = drawn.standard_normal((10, JOINT)).astype(np.float32)
    projection = drawn.standard_normal((WIDTH, JOINT)).astype(np.float32)
    return {"names": np.array(names), "features": texts, "projection": projection, "scale": np.float32(50)} | others


def config(folder, *words, **others):
    np.savez(folder / "text.npz", **arrays(**others))
    return tiny(folder / "runs", *WORDS, *RULE, f"stage_two.text_features={folder / 'text.npz'}", *words)


def test_logits_are_scaled_cosines_of_projected_features_and_names(tmp_path):
    chosen = config(tmp_path)
    record, folder = execute(chosen)
    given, made = arrays(), load_predictions(folder / "predictions.npz").logits
    features = torch.from_numpy(load_features(folder / FEATURES).features)
    images = F.normalize(features.double() @ torch.from_numpy(given["projection"]).double(), dim=1)
    names = F.normalize(torch.from_numpy(given["features"][::-1].copy()).double(), dim=1)
    np.testing.assert_allclose(made, 50 * images @ names.T, rtol=1e-4, atol=1e-4)
    assert record.stage_two_name == "zero-shot" and record.settings["stage_two.text_features"].startswith("sha256:")
    torch.testing.assert_close(lt_bench.load(folder).classifier(features), torch.from_numpy(made))
    with np.load(tmp_path / "text.npz") as file:
        np.savez(tmp_path / "moved.npz", **file)
    moved = tiny(tmp_path / "runs", *WORDS, *RULE, f"stage_two.text_features={tmp_path / 'moved.npz'}")
    assert identities(moved)[1] == record.stage_one_id
    before = run_id(chosen)
    assert run_id(config(tmp_path, scale=np.float32(51))) != before


def test_a_classifier_of_two_opposite_names():
    given = TextFeatures(torch.tensor([[2.0, 0], [-3, 0]]), torch.eye(3)[:, :2], None)
    found = TextClassifier.of(given, 100.0)(torch.tensor([[3.0, 4, 9], [0, 0, 1]]))
    torch.testing.assert_close(found, torch.tensor([[60.0, -60], [0, 0]]))


def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(UsageError, match="is for an encoder as its weights were, .*set finetune=head"):
        execute(config(tmp_path, "finetune=full"))
    with pytest.raises(DataError, match="has no features of 0"):
        execute(config(tmp_path, names=np.array([f"class {label}" for label in range(10)])))
    with pytest.raises(DataError, match="is no file of text features .*scale is a number above 0"):
        execute(config(tmp_path, scale=np.float32(0)))
    assert "stage_two.text_features=nowhere: no such file" in refusal(*WORDS, *RULE, "stage_two.text_features=nowhere")
    with pytest.raises(UsageError, match="stage_two.text_features is a file of .*set stage_two.text_features=FILE"):
        execute(tiny(tmp_path / "runs", *WORDS, *RULE))
