"""A record that contradicts its predictions is named and left out; unchanged files are compared once."""

import json
import logging
import os

import numpy as np
import pytest
from helpers.samples import predictions, sample

import lt_bench.data.files.digests as digests
from lt_bench.evaluation.metrics import METRICS, evaluate
from lt_bench.evaluation.predictions import save_predictions
from lt_bench.files import write_json
from lt_bench.record import verify
from lt_bench.record.collect import read_records


def finished(folder, seed=0, **changes):
    """A run's record and predictions, which agree but for the changes of the record."""
    logits = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
    made = predictions(logits, np.arange(60) % 3, [90, 30, 10])
    record = sample(seed=seed, metrics=evaluate(made), group_rule="thirds")
    place = folder / record.run_id
    place.mkdir(parents=True)
    save_predictions(place / "predictions.npz", made)
    write_json(place / "record.json", record.to_dict() | changes)
    return record, place


@pytest.fixture
def compared(monkeypatch):
    """The folders whose predictions are read for a comparison, where files count as settled at once."""
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**11))
    seen, compare = [], verify._compare
    monkeypatch.setattr(verify, "_compare", lambda record, folder: seen.append(folder) or compare(record, folder))
    return seen


def altered(metrics):
    """Every metric of a record in turn with another value that it could have."""
    for name, value in metrics.items():
        if isinstance(value, list):
            other = [value[0] + 1, *value[1:]] if name.endswith("counts") else [0.5 * value[0], *value[1:]]
        else:
            other = 0.25 if value is None else 0.9 * value
        yield name, {**metrics, name: other}


def test_every_altered_metric_is_found(tmp_path, caplog):
    record, place = finished(tmp_path)
    for name, metrics in altered(record.metrics):
        write_json(place / "record.json", record.to_dict() | {"metrics": metrics})
        with caplog.at_level(logging.WARNING):
            assert read_records([tmp_path]) == [], name
        assert f"contradicts its predictions: {name} is" in caplog.text and str(place) in caplog.text
        caplog.clear()
    write_json(place / "record.json", record.to_dict() | {"group_rule": "count_100_20"})
    assert read_records([tmp_path]) == []
    write_json(place / "record.json", record.to_dict())
    assert read_records([tmp_path]) == [record]


def test_other_predictions_are_found(tmp_path):
    record, place = finished(tmp_path / "a")
    _, other = finished(tmp_path / "b", seed=1)
    os.replace(other / "predictions.npz", place / "predictions.npz")
    assert read_records([tmp_path / "a"]) == []


def test_unchanged_files_are_compared_once(tmp_path, compared):
    record, place = finished(tmp_path)
    assert read_records([tmp_path]) == read_records([tmp_path]) == [record] and compared == [place]
    assert read_records([tmp_path], anew=True) == [record] and len(compared) == 2
    os.utime(place / "record.json")
    read_records([tmp_path])
    assert len(compared) == 3
    write_json(place / "predictions.npz.tmp", {})
    (place / verify.VERDICT).write_text("no verdict")
    read_records([tmp_path])
    assert len(compared) == 4
    read_records([tmp_path], check=False)
    assert len(compared) == 4


def test_a_bad_verdict_is_kept_too(tmp_path, compared):
    record, place = finished(tmp_path)
    write_json(place / "record.json", record.to_dict() | {"metrics": {**record.metrics, "top1": 0.99}})
    assert read_records([tmp_path]) == read_records([tmp_path]) == [] and len(compared) == 1
    assert "top1 is 0.99" in json.loads((place / verify.VERDICT).read_text())["contradiction"]


@pytest.mark.parametrize("name", ["record.json", "predictions.npz"])
def test_a_change_in_place_under_the_old_size_and_time_is_compared(name, tmp_path, compared):
    record, place = finished(tmp_path)
    assert read_records([tmp_path]) == [record]
    path, before = place / name, (place / name).stat()
    content = bytearray(path.read_bytes())
    at = content.index(b'"top1": 0.') + 10 if name == "record.json" else len(content) // 2
    content[at] ^= 1  # another digit, or an archive that its checksum contradicts
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)
    read_records([tmp_path])
    assert len(compared) == 2


def test_a_file_that_changed_just_now_is_compared_each_time(tmp_path, compared, monkeypatch):
    record, place = finished(tmp_path)
    monkeypatch.setattr(digests, "SETTLED_NS", 10**15)
    assert read_records([tmp_path]) == read_records([tmp_path]) == [record] and len(compared) == 2
    assert not (place / verify.VERDICT).exists()


def test_the_verdict_on_a_record_is_not_that_on_another_file_beside_it(tmp_path, compared):
    record, place = finished(tmp_path)
    assert read_records([tmp_path]) == [record]
    write_json(place / "older.json", record.to_dict() | {"metrics": {**record.metrics, "top1": 0.99}})
    assert read_records([place / "older.json"]) == [] and read_records([place / "record.json"]) == [record]
    assert len(compared) == 3


def test_no_damage_of_predictions_costs_other_records(tmp_path):
    record, place = finished(tmp_path)
    path, random = place / "predictions.npz", np.random.default_rng(0)
    arrays = dict(np.load(path))
    plain = path.read_bytes()
    np.savez_compressed(path, **arrays)
    for content in (plain, path.read_bytes()):
        for _ in range(100):
            flipped = np.frombuffer(content, np.uint8).copy()
            flipped[random.integers(len(flipped), size=4)] ^= 1 << random.integers(8, size=4).astype(np.uint8)
            path.write_bytes(flipped.tobytes())
            assert read_records([tmp_path], anew=True) in ([], [record])


def test_other_metrics_or_other_code_of_theirs_are_compared_anew(tmp_path, compared, monkeypatch):
    record, place = finished(tmp_path / "runs")
    source = tmp_path / "mine.py"

    def known_here(text):
        source.write_text(text)
        scope = {}
        exec(compile(text, source, "exec"), scope)
        monkeypatch.setitem(METRICS, "mine", METRICS["top1"]._replace(function=scope["mine"]))

    write_json(place / "record.json", record.to_dict() | {"metrics": {**record.metrics, "mine": 0.5}})
    assert len(read_records([tmp_path / "runs"])) == 1  # a metric that is not known cannot be compared
    known_here("def mine(predictions):\n    return 0.25\n")
    assert read_records([tmp_path / "runs"]) == [] and len(compared) == 2
    known_here("def mine(predictions):\n    return 0.5  # mended\n")
    assert len(read_records([tmp_path / "runs"])) == 1 and len(compared) == 3
    assert len(read_records([tmp_path / "runs"])) == 1 and len(compared) == 3


def test_folders_behind_links_count_once(tmp_path):
    record, place = finished(tmp_path / "elsewhere")
    other, _ = finished(tmp_path / "runs", seed=1)
    (tmp_path / "runs" / place.name).symlink_to(place)
    (tmp_path / "runs" / "again").symlink_to(place)
    (place / "loop").symlink_to(tmp_path / "runs")
    assert read_records([tmp_path / "runs"]) == sorted([record, other], key=lambda one: one.run_id)


def test_a_file_that_was_found_and_cannot_be_read_is_skipped(tmp_path, caplog):
    record, place = finished(tmp_path)
    (tmp_path / "odd" / "record.json").mkdir(parents=True)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == [record]
    assert caplog.text.count("it cannot be read") == 2 and "gone.jsonl" in caplog.text
    with pytest.raises(FileNotFoundError):
        read_records([tmp_path / "gone.jsonl"])


def test_predictions_that_cannot_be_read_are_said(tmp_path, caplog):
    record, place = finished(tmp_path)
    content = bytearray((place / "predictions.npz").read_bytes())
    content[200] ^= 1
    (place / "predictions.npz").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == [record]
    assert f"run {record.run_id} is not compared with its predictions" in caplog.text
