"""Features of the evaluated images: kept where they are asked for, and had later without training again."""

import numpy as np
import pytest
from helpers.chain import TINY, execute, tiny

from lt_bench.__main__ import main
from lt_bench.engine.loop import Trainer
from lt_bench.evaluation.features import FEATURES, Features, load_features, save_features
from lt_bench.evaluation.predictions import load_predictions


def test_features_are_those_of_the_predictions_images(tmp_path):
    record, folder = execute(tiny(tmp_path, "method=ce", "evaluation.save_features=true"))
    plain, without = execute(tiny(tmp_path / "plain", "method=ce"))
    assert record == plain and not (without / FEATURES).exists()
    found, predictions = load_features(folder / FEATURES), load_predictions(folder / "predictions.npz")
    np.testing.assert_array_equal(found.labels, predictions.labels)
    assert found.features.shape[0] == len(predictions.labels) and found.features.dtype == np.float32


def test_a_finished_run_without_them_says_how_to_get_them_and_trains_nothing_again(tmp_path, capsys, monkeypatch):
    words = [*TINY, "method=ce", "stage_two=cb", f"output_dir={tmp_path}"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "evaluation.save_features=true"]) == 0
    said = capsys.readouterr().out
    record = next(tmp_path.glob("*/predictions.npz")).with_name("record.json")
    assert f"delete {record} and type the run again" in said
    kept = record.read_text()
    record.unlink()
    monkeypatch.setattr(Trainer, "_step", lambda *words: pytest.fail("a step was taken"))
    assert main([*words, "evaluation.save_features=true"]) == 0
    assert load_features(record.with_name(FEATURES)).labels.size and '"top1"' in kept


@pytest.mark.parametrize(
    "arrays",
    [
        {"features": np.ones((3, 2))},
        {"features": np.ones((3, 2)), "labels": np.zeros(2, int)},
        {"features": np.full((3, 2), np.nan), "labels": np.zeros(3, int)},
    ],
)
def test_a_damaged_file_is_named(arrays, tmp_path):
    np.savez(tmp_path / FEATURES, **arrays)
    with pytest.raises(ValueError, match="features.npz is not a file of features"):
        load_features(tmp_path / FEATURES)


def test_what_is_saved_is_read(tmp_path):
    save_features(tmp_path / FEATURES, Features(np.eye(3), np.arange(3)))
    found = load_features(tmp_path / FEATURES)
    np.testing.assert_array_equal(found.features, np.eye(3))
