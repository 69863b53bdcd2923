import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.samples import metrics, sample

from lt_bench.evaluation.metrics import evaluate
from lt_bench.files import write_json
from lt_bench.record.record import RunRecord, read_record, read_records


def test_round_trip_through_json() -> None:
    record = sample(imbalance_factor=None, stage_one_id=None)
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_real_metrics_are_accepted() -> None:
    measured = evaluate([[2.0, 1.0, 0.0]], [0], [9, 5, 1], "thirds")  # type: ignore[arg-type]
    assert sample(metrics=dict(measured)).metrics["few"] is None


def test_cost_and_environment_decide_nothing() -> None:
    record = sample()
    other = replace(record, cost={"seconds": 99.0}, environment={})
    assert other == record and other.identity_values() == record.identity_values()
    assert not {"cost", "environment"} & record.identity_values().keys()
    assert replace(record, seed=1) != record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, r"'seed': expected int, found '0'"),
        ({"seed": True}, "'seed': expected int, found True"),
        ({"imbalance_factor": "20"}, r"'imbalance_factor': expected float \| None"),
        ({"settings": []}, "'settings'"),
        ({"selection": "best"}, "'selection': expected one of last, best_validation, best_test, found 'best'"),
        ({"metrics": {}}, "'metrics': missing or unknown"),
        ({"metrics": metrics(top1=50.0)}, r"'metrics.top1': expected a fraction in \[0, 1\], found 50.0"),
        ({"metrics": metrics(ece=float("nan"))}, "'metrics.ece'"),
        ({"metrics": metrics() | {"macro": None}}, "'metrics.macro'"),
        ({"metrics": metrics() | {"group_std": 14.0}}, "'metrics.group_std'"),
        ({"metrics": metrics() | {"top5": -1}}, "'metrics.top5'"),
        ({"metrics": metrics() | {"test_counts": [1]}}, "lists of one length"),
        ({"metrics": metrics() | {"per_class_accuracy": [2.0, None]}}, "'metrics.per_class_accuracy'"),
        ({"metrics": metrics() | {"train_counts": [1.5, 2]}}, "'metrics.train_counts'"),
    ],
)
def test_wrong_values_name_file_and_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^some/record.json: key .*{message}"):
        RunRecord.from_dict(sample().to_dict() | changes, "some/record.json")


def test_missing_unknown_and_newer_records_are_refused() -> None:
    values = sample().to_dict()
    with pytest.raises(ValueError, match="here: unknown key.*'colour'"):
        RunRecord.from_dict(values | {"colour": 1}, "here")
    with pytest.raises(ValueError, match="here: missing key.*'budget'"):
        RunRecord.from_dict({key: value for key, value in values.items() if key != "budget"}, "here")
    with pytest.raises(ValueError, match="here: key 'schema': expected 1 or 2, found 3"):
        RunRecord.from_dict(values | {"schema": 3, "colour": 1}, "here")
    with pytest.raises(ValueError, match="here: expected an object"):
        RunRecord.from_dict([values], "here")


def of_schema_1(record: RunRecord) -> dict[str, Any]:
    values = record.to_dict()
    kept = {key: value for key, value in values["metrics"].items() if key not in ("top5", "group_std")}
    return values | {"schema": 1, "metrics": kept}


def test_a_record_of_schema_1_gets_the_deviation_over_its_groups() -> None:
    old = RunRecord.from_dict(of_schema_1(sample(metrics=metrics(groups=(0.9, 0.6, 0.3)))))
    assert old.schema == 2 and old.metrics["top5"] is None
    assert old.metrics["group_std"] == pytest.approx(0.06**0.5)
    without_a_group = of_schema_1(sample(metrics=metrics(groups=(0.9, None, 0.3))))
    assert RunRecord.from_dict(without_a_group).metrics["group_std"] is None
    stage_one = of_schema_1(sample(kind="stage_one", metrics={}))
    assert RunRecord.from_dict(stage_one).metrics == {}


def test_a_damaged_record_of_schema_1_is_refused() -> None:
    for change, message in (
        ({"metrics": 3}, "key 'metrics'"),
        ({"metrics": {"top1": 0.5}}, "'metrics': missing or unknown"),
        ({"metrics": of_schema_1(sample())["metrics"] | {"few": "x"}}, "'metrics.few'"),
    ):
        with pytest.raises(ValueError, match=message):
            RunRecord.from_dict(of_schema_1(sample()) | change)
    without = {key: value for key, value in of_schema_1(sample()).items() if key != "metrics"}
    with pytest.raises(ValueError, match="missing key.*'metrics'"):
        RunRecord.from_dict(without)


def test_a_stage_one_needs_no_metrics() -> None:
    assert sample(kind="stage_one", metrics={}).metrics == {}


def test_records_are_found_in_folders_and_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = (sample(seed=seed) for seed in range(3))
    write_json(tmp_path / "runs" / first.run_id / "record.json", first.to_dict())
    (tmp_path / "runs" / first.run_id / "metrics.jsonl").write_text('{"loss": 1.0}\n')
    lines = [json.dumps(record.to_dict()) for record in (third, second, first)]
    (tmp_path / "runs" / "more.jsonl").write_text("\n\n".join(lines) + "\n")
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path / "runs"]) == [first, second, third]
        assert read_records([tmp_path / "runs" / first.run_id]) == [first]
        assert read_records([tmp_path / "runs" / "more.jsonl"]) == [first, second, third]
    assert not caplog.records
    assert read_record(tmp_path / "runs" / first.run_id / "record.json") == first


def test_what_is_no_record_is_skipped_with_one_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = sample()
    write_json(tmp_path / "a" / "record.json", good.to_dict())
    write_json(tmp_path / "b" / "record.json", good.to_dict() | {"seed": None})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "record.json").write_bytes(b'{"run_id": "\xff')
    (tmp_path / "d.jsonl").write_text(json.dumps(good.to_dict()) + "\n[1,\n2]\n")
    with caplog.at_level(logging.WARNING):
        assert read_records([tmp_path]) == [good]
    messages = [entry.getMessage() for entry in caplog.records]
    assert all("\n" not in message for message in messages)
    places = ["b/record.json: key 'seed'", "c/record.json: not valid JSON", "d.jsonl:2: not", "d.jsonl:3: not"]
    assert len(messages) == 4 and all(place in message for place, message in zip(places, messages, strict=True))


def test_doubles_collapse_and_contradictions_name_both_files(tmp_path: Path) -> None:
    record = sample()
    write_json(tmp_path / "a" / "record.json", record.to_dict())
    write_json(tmp_path / "b" / "record.json", record.to_dict() | {"cost": {"seconds": 7.0}})
    assert read_records([tmp_path / "b", tmp_path / "a", tmp_path]) == [record]
    write_json(tmp_path / "b" / "record.json", replace(record, metrics=metrics(top1=0.25)).to_dict())
    with pytest.raises(ValueError, match=f"{record.run_id} has two different records, in .*a/record.json and .*b/rec"):
        read_records([tmp_path])


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_records([tmp_path / "nowhere"])
