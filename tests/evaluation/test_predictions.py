from pathlib import Path

import numpy as np
import pytest

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import load_predictions, metrics_from_file, save_predictions

RNG = np.random.default_rng(3)
LOGITS, LABELS, COUNTS = RNG.normal(size=(60, 5)), RNG.integers(0, 5, 60), np.array([400, 101, 60, 20, 3])


def test_every_metric_is_computed_again_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.npz"
    save_predictions(path, LOGITS, LABELS, COUNTS, "count_100_20", ["zero", "one", "two", "three", "ünf"])
    assert metrics_from_file(path) == evaluate(LOGITS, LABELS, COUNTS, "count_100_20")
    loaded = load_predictions(path)
    assert loaded.logits.dtype == np.float32 and loaded.class_names == ("zero", "one", "two", "three", "ünf")
    np.testing.assert_array_equal(loaded.logits, LOGITS.astype(np.float32))
    assert [file.name for file in path.parent.iterdir()] == ["predictions.npz"]


def test_class_names_are_optional_and_counted(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", LOGITS, LABELS, COUNTS, "thirds")
    assert load_predictions(tmp_path / "p.npz").class_names is None
    with pytest.raises(ValueError, match="expected 5 class names, found 2"):
        save_predictions(tmp_path / "p.npz", LOGITS, LABELS, COUNTS, "thirds", ["a", "b"])


def test_logits_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    broken = LOGITS.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 60 rows"):
        save_predictions(tmp_path / "p.npz", broken, LABELS, COUNTS, "thirds")
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    save_predictions(path, LOGITS, LABELS, COUNTS, "thirds")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"p\.npz is not a predictions file"):
        load_predictions(path)


def test_missing_arrays_and_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "lacking.npz", logits=LOGITS, labels=LABELS)
    with pytest.raises(ValueError, match=r"lacking\.npz is not a predictions file.*train_counts"):
        load_predictions(tmp_path / "lacking.npz")
    names = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickled.npz", logits=LOGITS, labels=LABELS, train_counts=COUNTS, class_names=names)
    with pytest.raises(ValueError, match=r"pickled\.npz.*allow_pickle=False"):
        load_predictions(tmp_path / "pickled.npz")
