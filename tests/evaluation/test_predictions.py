import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import Predictions, confusion_matrix, load_predictions, save_predictions

RNG = np.random.default_rng(3)
LOGITS, LABELS, COUNTS = RNG.normal(size=(60, 5)), RNG.integers(0, 5, 60), np.array([400, 101, 60, 20, 3])
NAMES = ("zero", "one", "two", "three", "ünf")


def made(rule: str = "thirds", **changes: Any) -> Predictions:
    values: dict[str, Any] = {"logits_by_name": {"logits": LOGITS}, "labels": LABELS, "train_counts": COUNTS}
    return Predictions(**values | {"group_rule": rule} | changes)


def test_every_metric_is_computed_again_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.npz"
    save_predictions(path, made("count_100_20", class_names=NAMES))
    loaded = load_predictions(path)
    assert evaluate(loaded) == evaluate(made("count_100_20"))
    assert loaded.logits.dtype == np.float32 and loaded.class_names == NAMES
    np.testing.assert_array_equal(loaded.logits, LOGITS.astype(np.float32))
    assert [file.name for file in path.parent.iterdir()] == ["predictions.npz"]


def test_the_file_has_the_arrays_that_it_always_had(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    save_predictions(path, made(class_names=NAMES))
    names = ["logits", "labels", "train_counts", "group_rule", "class_names"]
    assert zipfile.ZipFile(path).namelist() == [f"{name}.npy" for name in names]
    arrays = {"logits": LOGITS.astype(np.float32), "labels": LABELS, "train_counts": COUNTS}
    np.savez(tmp_path / "old.npz", **arrays, group_rule=np.array("thirds"), class_names=np.array(NAMES))
    assert path.read_bytes() == (tmp_path / "old.npz").read_bytes()


def test_further_sets_of_logits_are_kept_by_name(tmp_path: Path) -> None:
    expert = LOGITS[:, ::-1]
    save_predictions(tmp_path / "p.npz", made(logits_by_name={"logits": LOGITS, "expert.1": expert}))
    loaded = load_predictions(tmp_path / "p.npz")
    assert list(loaded.logits_by_name) == ["logits", "expert.1"] and loaded.task == "classification"
    np.testing.assert_array_equal(loaded.logits_by_name["expert.1"], expert.astype(np.float32))
    with np.load(tmp_path / "p.npz") as arrays:
        assert "logits.expert.1" in arrays
    assert evaluate(loaded) == evaluate(made())
    with pytest.raises(ValueError, match=r"expected few \(M, C\).*\(60, 3\)"):
        made(logits_by_name={"logits": LOGITS, "few": LOGITS[:, :3]})
    with pytest.raises(ValueError, match="no set of logits is named 'logits'"):
        made(logits_by_name={"expert": LOGITS})


def test_confusion_counts_give_what_needs_no_logits(tmp_path: Path) -> None:
    cells = confusion_matrix(LABELS, LOGITS.argmax(axis=1), 5)
    counted = Predictions(confusion=cells, train_counts=COUNTS, group_rule="thirds")
    save_predictions(tmp_path / "p.npz", counted)
    found, whole = evaluate(load_predictions(tmp_path / "p.npz")), evaluate(made())
    assert counted.task == "segmentation" and whole.keys() - found.keys() == {"top5", "ece", "nll"}
    assert found == {name: whole[name] for name in found}
    with pytest.raises(ValueError, match="stand instead of logits and labels"):
        made(confusion=cells)
    with pytest.raises(ValueError, match=r"whole numbers \(C, C\)"):
        Predictions(confusion=cells[:4], train_counts=COUNTS, group_rule="thirds")


def test_class_names_are_optional_and_counted(tmp_path: Path) -> None:
    save_predictions(tmp_path / "p.npz", made())
    assert load_predictions(tmp_path / "p.npz").class_names is None
    with pytest.raises(ValueError, match="expected 5 class names, found 2"):
        made(class_names=("a", "b"))


def test_logits_that_are_not_finite_are_no_predictions() -> None:
    broken = LOGITS.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="logits must be finite.*1 of 60 rows"):
        made(logits_by_name={"logits": broken})


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    save_predictions(path, made())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"p\.npz is not a predictions file"):
        load_predictions(path)


def test_missing_arrays_and_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "lacking.npz", logits=LOGITS, labels=LABELS)
    with pytest.raises(ValueError, match=r"lacking\.npz is not a predictions file.*train_counts"):
        load_predictions(tmp_path / "lacking.npz")
    names = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickled.npz", logits=LOGITS, labels=LABELS, train_counts=COUNTS, class_names=names)
    with pytest.raises(
        ValueError, match=r"pickled\.npz.*class_names\.npy holds Python objects, which are not read; save"
    ):
        load_predictions(tmp_path / "pickled.npz")


def test_predictions_on_validation_images_stand_beside_and_change_no_other_array(tmp_path: Path) -> None:
    held_out = made(logits_by_name={"logits": LOGITS[:20, ::-1], "expert": LOGITS[:20]}, labels=LABELS[:20])
    save_predictions(tmp_path / "p.npz", made(class_names=NAMES, validation=held_out))
    save_predictions(tmp_path / "without.npz", made(class_names=NAMES))
    loaded = load_predictions(tmp_path / "p.npz")
    assert loaded.validation is not None and evaluate(loaded) == evaluate(made())
    assert list(loaded.validation.logits_by_name) == ["logits", "expert"] and list(loaded.logits_by_name) == ["logits"]
    np.testing.assert_array_equal(loaded.validation.logits, held_out.logits)
    np.testing.assert_array_equal(loaded.validation.labels, held_out.labels)
    with np.load(tmp_path / "p.npz") as arrays, np.load(tmp_path / "without.npz") as others:
        assert set(arrays) - set(others) == {"validation.logits", "validation.logits.expert", "validation.labels"}
        for name in others:
            np.testing.assert_array_equal(arrays[name], others[name])
    with pytest.raises(ValueError, match="of the same run: its train_counts differ"):
        made(validation=made(train_counts=COUNTS + 1))


def test_weights_of_experts_come_back(tmp_path: Path) -> None:
    weights = {"uniform": np.array([0.25, 0.75]), "forward50": np.array([1.0, 0.0])}
    save_predictions(tmp_path / "p.npz", made(expert_weights=weights, validation=made()))
    loaded = load_predictions(tmp_path / "p.npz")
    assert loaded.validation is not None and loaded.validation.expert_weights == {}
    assert {name: one.tolist() for name, one in loaded.expert_weights.items()} == {
        name: one.tolist() for name, one in weights.items()
    }
    for wrong in (np.array([[1.0]]), np.array([np.nan, 1.0])):
        with pytest.raises(ValueError, match="weights of experts are finite numbers"):
            made(expert_weights={"uniform": wrong})
