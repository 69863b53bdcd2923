import numpy as np
import pytest
import torch
from benchmarks.harness import HostReads, OpCount, PeakMemory, alternate, report


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


def test_candidates_take_turns_and_the_ratio_is_of_medians(capsys):
    calls = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4 and [len(values) for values in seconds.values()] == [3, 3]
    assert report("title", {"slow": [4.0, 9.0, 1.0], "fast": [2.0]}, "slow", "fast", goal=3) == 2
    assert "MISSED" in capsys.readouterr().out
