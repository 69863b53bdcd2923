import json
import sys

import numpy as np
import pytest
import torch
from benchmarks import harness
from benchmarks.harness import (
    Comparison,
    HostReads,
    Measured,
    NotMeasured,
    OpCount,
    PeakMemory,
    Side,
    alike,
    alternate,
    compare_losses,
    script,
    shown,
)


def test_peak_memory_counts_live_storages_and_leaves_older_ones_out():
    before = torch.zeros(1000)
    with PeakMemory() as memory:
        first = before + 1
        view = first.reshape(10, 100)
        del first
        second = view * 2
        before.mul_(2)
        del view
        second.exp_()
        third = second + 1
    assert memory.peak == 2 * 4000 and third.shape == (10, 100)


def test_peak_memory_sees_the_backward_pass():
    weights = torch.zeros(1000, requires_grad=True)
    with PeakMemory() as memory:
        weights.exp().sum().backward()
    assert memory.peak >= 2 * 4000


def test_op_count_leaves_views_out():
    with OpCount() as kernels:
        (torch.zeros(4).reshape(2, 2).T + 1).exp()
    assert kernels.count == 3


@pytest.mark.parametrize(
    "read",
    [
        lambda rows: rows.sum().item(),
        lambda rows: rows.nonzero(),
        lambda rows: rows[rows > 0],
        lambda rows: rows.unique(),
        lambda rows: torch.bincount(rows.long()),
        lambda rows: bool((rows > 0).any()),
        lambda rows: rows[torch.ones(3, dtype=torch.bool)],
        lambda rows: rows.tolist(),
        lambda rows: rows.sum().tolist(),
        lambda rows: rows.numpy(),
        lambda rows: np.asarray(rows),
        lambda rows: rows.cpu(),
        lambda rows: list(rows),
        lambda rows: torch.nn.Parameter(rows).tolist(),
        lambda rows: torch.allclose(rows, rows),
        lambda rows: torch.equal(rows, rows),
        lambda rows: rows.repeat_interleave(rows.long()),
    ],
)
def test_host_reads_are_found(read):
    with HostReads() as reads:
        read(torch.ones(3))
    assert len(reads.found) == 1


def test_host_reads_leave_the_tensor_class_as_it_was():
    before = {name: getattr(torch.Tensor, name) for name in HostReads.methods}
    own = set(vars(torch.Tensor))
    with pytest.raises(RuntimeError), HostReads() as reads:
        torch.zeros(2, requires_grad=True).numpy()
    torch.ones(3).tolist()
    assert reads.found == ["numpy"] and set(vars(torch.Tensor)) == own
    assert {name: getattr(torch.Tensor, name) for name in HostReads.methods} == before


def test_nested_host_reads_both_see_a_read_and_the_inner_one_ends_first():
    with HostReads() as outer:
        with HostReads() as inner:
            torch.ones(3).tolist()
        torch.ones(3).cpu()
    assert (outer.found, inner.found) == (["tolist", "cpu"], ["tolist"])


def test_a_known_size_of_repeated_rows_needs_no_host_read():
    with HostReads() as reads:
        torch.ones(3).repeat_interleave(torch.tensor([1, 2, 1]), output_size=4)
        torch.ones(3).repeat_interleave(2)
    assert reads.found == []


def test_host_reads_are_not_found_in_ordinary_indexing():
    with HostReads() as reads:
        torch.ones(3)[torch.tensor([0, 2])].where(torch.tensor(True), 0).sum()
    assert reads.found == []


def test_candidates_take_turns_after_a_warm_up():
    calls = []
    timed = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b") or "result"}, rounds=3)
    assert calls == ["a", "b"] * 4 and [len(one.seconds) for one in timed.values()] == [3, 3]
    assert timed["b"].result == "result"


def comparison(**changed):
    slow, fast = Measured.of("slow", 4.0, 9.0, 1.0), Measured.of("fast", 2.0)
    return Comparison("title", "s", **{"baseline": slow, "ours": fast, "agree": True, "goal": 3, **changed})


def test_the_ratio_is_of_medians_and_goals_are_judged_where_asked():
    assert comparison().ratio == 2 and not comparison().met and comparison(goal=2).met
    assert not comparison(goal=None, limit=1.9).met and comparison(goal=None, baseline=None, limit=2).met
    assert "MISSED" in comparison().text(judged=True) and "MISSED" not in comparison().text(judged=False)
    assert "DIFFER" in comparison(agree=False).text(judged=False)


def yielding(row):
    return lambda tiny: [row, NotMeasured("title", "other", f"tiny is {tiny}")]


@pytest.mark.parametrize(
    ("words", "changed", "status"),
    [
        ([], {"goal": 2}, 0),
        ([], {}, 1),
        (["--tiny"], {}, 0),
        (["--tiny"], {"agree": False}, 1),
        ([], {"goal": None, "limit": 1}, 1),
    ],
)
def test_a_script_fails_where_sides_disagree_or_a_goal_is_missed(
    words, changed, status, command_line, tmp_path, capsys
):
    command_line("bench_x.py", "--write", str(tmp_path / "x.json"), *words)
    assert script(yielding(comparison(**changed))) == status
    kept = json.loads((tmp_path / "x.json").read_text())
    assert len(kept["rows"]) == 2 and not kept["error"] and kept["rows"][0]["ours"]["median"] == 2
    said = capsys.readouterr().out
    assert f"tiny is {bool(words)}" in said and "freed memory kept" in said


def test_what_was_measured_before_an_error_is_stored(command_line, tmp_path):
    def measure(tiny):
        yield comparison()
        raise ValueError("no such thing")

    command_line("bench_x.py", "--write", str(tmp_path / "x.json"))
    with pytest.raises(ValueError, match="no such"):
        script(measure)
    kept = json.loads((tmp_path / "x.json").read_text())
    assert len(kept["rows"]) == 1 and kept["error"] == "ValueError: no such thing"


@pytest.fixture
def command_line(monkeypatch):
    """A command line for ``script``, which must leave threads and allocator of this process alone."""
    monkeypatch.setattr(harness, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    return lambda *words: monkeypatch.setattr(sys, "argv", [*words])


def test_losses_are_compared_in_time_memory_and_operations():
    rows = torch.rand(64, 8, requires_grad=True)
    ours = Side("ours", lambda: rows.sum())
    baselines = [Side("squares", lambda: (rows * rows / rows).sum()), Side("twice", lambda: 2 * rows.sum(), 1, 2)]
    found = [*compare_losses("sums", baselines, ours, [rows], rounds=1, row="sums")]
    assert [(one.baseline.name, one.unit) for one in found] == [
        ("squares", "CPU s"), ("twice", "CPU s"), ("squares", "B"), ("squares", "operations"), ("twice", "B"),
        ("twice", "operations"),
    ]  # fmt: skip
    assert [one.agree for one in found] == [True, False, True, True, False, False]
    assert found[1].goal == 1 and found[4].goal == 2 and found[2].ratio > 1 and found[3].ratio > 1


def test_random_batches_are_alike_by_mean_and_spread():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(64, 3, 4, 4, generator=generator) for _ in range(2))
    assert alike(first, second)
    assert not alike(first, second + 0.5) and not alike(first, second * 1.5) and not alike(first, second[:32])


def test_values_are_shown_with_the_unit_that_a_person_would_choose():
    given = [(0.0123, "s"), (2.5, "s"), (3e-6, "CPU s"), (3 * 2**20, "B"), (1, "operations"), (1234, "operations")]
    assert [shown(*value) for value in given] == [
        "12.3 ms",
        "2.5 s",
        "3 CPU µs",
        "3 MiB",
        "1 operation",
        "1,234 operations",
    ]
