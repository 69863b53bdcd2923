"""Records that were read before: a report from the cache is that from the files, whatever has become of either."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.samples import metrics, runs

import lt_bench.data.files.digests as digests
from lt_bench.files import write_json
from lt_bench.record import collect, kept
from lt_bench.record.collect import read_found
from lt_bench.record.metrics import check_metrics
from lt_bench.report.__main__ import main

COUNT = 6


@pytest.fixture
def read(monkeypatch, tmp_path):
    """The files that are read, with a cache of its own, in which files count as settled at once."""
    found = []
    monkeypatch.setenv("LT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**11))
    monkeypatch.setattr(kept, "LEAST", COUNT - 2)
    monkeypatch.setattr(
        kept, "read_bytes", lambda path, most, real=kept.read_bytes: found.append(path.parent.name) or real(path, most)
    )
    return found


@pytest.fixture
def folder(tmp_path):
    for record in runs([(0.5 + number / 20, 0.1) for number in range(COUNT)]):
        write_json(tmp_path / "runs" / record.run_id / "record.json", record.to_dict())
    return tmp_path / "runs"


def cache(tmp_path):
    (found,) = (tmp_path / "cache").glob("records-*.txt")
    return found


def anew(folder, monkeypatch):
    """What is found without a cache."""
    with monkeypatch.context() as changed:
        changed.setattr(kept, "LEAST", 10**9)
        return read_found([folder])


def test_a_report_from_the_cache_is_byte_for_byte_that_from_the_files(folder, read, tmp_path, capsys):
    said, written = [], []
    for number in range(2):
        assert main(["--runs", str(folder), "--out", str(tmp_path / f"{number}"), "--baseline", "SBCL / CB"]) == 0
        said.append(capsys.readouterr().out)
        written.append({path.name: path.read_bytes() for path in (tmp_path / f"{number}").iterdir()})
    assert len(read) == COUNT and said[0] == said[1] and written[0] == written[1]
    assert len(read_found([folder], anew=True)) == COUNT and len(read) == 2 * COUNT


def test_a_file_that_was_changed_added_or_deleted_is_noticed(folder, read, monkeypatch):
    before = read_found([folder])
    first, second, *_ = sorted(folder.iterdir())
    path, record = first / "record.json", before[0].record
    status = path.stat()
    text = path.read_text().replace('"top1": 0.5,', '"top1": 0.6,')
    assert text != path.read_text()
    path.write_text(text)  # as long, and under the old time of change
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (second / "record.json").unlink()
    write_json(folder / "new" / "record.json", {**record.to_dict(), "run_id": "new", "seed": 9})
    found = read_found([folder])
    assert found == anew(folder, monkeypatch) != before
    assert {*read[COUNT : COUNT + 2]} == {first.name, "new"} and second.name not in {one.record.run_id for one in found}
    assert {one.record.run_id: one.record.metrics["top1"] for one in found}[record.run_id] == 0.6


@pytest.mark.parametrize("damage", ["a byte", "the end", "another version", "no file", "other words", "a folder"])
def test_a_damaged_cache_is_read_past_and_written_anew(damage, folder, read, tmp_path, monkeypatch):
    expected, path = read_found([folder]), cache(tmp_path)
    whole = path.read_bytes()
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "no file":
        path.unlink()
    else:
        content = {
            "a byte": whole.replace(b'"top1":0.5,', b'"top1":0.9,'),
            "the end": whole[:-40],
            "another version": whole.replace(b"lt_bench records", b"lt_bench record5", 1),
            "other words": b"\xff\n\t\t\t\n" * 50,
        }[damage]
        assert content != whole
        path.write_bytes(content)
    assert read_found([folder]) == expected
    assert len(read) == COUNT + (1 if damage in ("a byte", "the end") else COUNT)
    assert read_found([folder]) == expected
    assert len(read) == COUNT + {"a byte": 1, "the end": 1, "a folder": 2 * COUNT}.get(damage, COUNT)


def test_a_cache_that_cannot_be_written_costs_nothing(folder, read, tmp_path, monkeypatch, caplog, capsys):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert read_found([folder]) == read_found([folder]) == anew(folder, monkeypatch)
    assert len(read) == 3 * COUNT and not caplog.records and capsys.readouterr().err == ""


def test_few_files_and_files_that_may_change_unseen_are_not_kept(folder, read, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "LEAST", COUNT + 1)
    read_found([folder])
    monkeypatch.setattr(kept, "LEAST", COUNT)
    monkeypatch.setattr(digests, "SETTLED_NS", 10**12)
    read_found([folder])
    assert not (tmp_path / "cache").exists()


def test_what_is_wrong_with_a_record_is_said_each_time(folder, read, caplog):
    names = sorted(path.name for path in folder.iterdir())
    (folder / names[0] / "record.json").write_text('{"top1": NaN}')
    (folder / names[1] / "record.json").write_text('{"schema": 3}')
    (folder / names[2] / "record.json").write_text('{"schema": 3')
    said = []
    for _ in range(2):
        assert len(read_found([folder])) == COUNT - 3
        said.append([record.getMessage() for record in caplog.records])
        caplog.clear()
    assert said[0] == said[1] and len(said[0]) == 3


def test_two_reports_at_once_find_the_same(folder, read, tmp_path, monkeypatch):
    expected = anew(folder, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: read_found([folder]), range(8))]
    assert all(one == expected for one in found)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix == ".tmp"] and cache(tmp_path)
    assert read_found([folder]) == expected


def test_a_folder_that_is_named_twice_and_one_inside_it_are_read_once(folder, read):
    inside = next(folder.iterdir())
    found = read_found([folder, folder, inside, inside / "record.json"])
    assert len(found) == COUNT == len(read)
    assert [one.source for one in collect.read_found([inside, folder])] == [one.source for one in found]


def test_values_of_metrics_are_judged_one_by_one():
    lists = {"per_class_accuracy": [0.5, None], "test_counts": [1, 0], "train_counts": [2, 3]}
    check_metrics({**metrics(), **lists})
    wrong = [
        *({"per_class_accuracy": [0.5, value]} for value in (1.5, -0.1, float("nan"), True, "a")),
        *({"test_counts": [1, value]} for value in (-1, 1.0, None, True, 2**63)),
        *({"top1": value} for value in (1.1, float("inf"), True, None, [0.5])),
        *({"nll": value} for value in (float("inf"), True, "a", 2**70)),
    ]
    for one in wrong:
        with pytest.raises(ValueError, match=next(iter(one))):
            check_metrics({**lists, **one})
