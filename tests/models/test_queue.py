"""The labelled queue: order of overwriting, batches of any size, first state, no host read."""

import pytest
import torch
from benchmarks.harness import HostReads, OpCount

from lt_bench.models.queue import LabelledQueue


def numbered(first, count):
    """Rows (n, 2) and labels (n,) that tell their number."""
    numbers = torch.arange(first, first + count)
    return torch.stack([numbers, -numbers], 1).float(), numbers


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("batches", [(3, 3, 3), (4, 4), (1, 5, 2), (7, 9, 20, 3), (0, 2)])
def test_holds_the_last_entries_at_the_places_of_a_ring(size, batches):
    queue, ring, seen = LabelledQueue(size, 2, 5), [-1] * size, 0
    for count in batches:
        rows, labels = numbered(seen, count)
        queue.enqueue(rows, labels)
        for number in range(seen, seen + count):
            ring[number % size] = number
        seen += count
        assert queue.labels.tolist() == ring and int(queue.pointer) == seen % size
        full = torch.tensor([[max(number, 0), min(-number, 0)] for number in ring]).float()
        assert torch.equal(queue.rows, full)


def test_masked_until_written():
    queue = LabelledQueue(6, 3, 5)
    assert (queue.labels == -1).all()
    queue.enqueue(torch.ones(4, 3), torch.full((4,), 2))
    assert queue.labels.tolist() == [2, 2, 2, 2, -1, -1]


def test_official_beginning_has_unit_columns_and_labels_of_all_classes():
    torch.manual_seed(0)
    queue = LabelledQueue(500, 3, 5, "official")
    torch.testing.assert_close(queue.rows.norm(dim=0), torch.ones(3))
    assert sorted(set(queue.labels.tolist())) == list(range(5))
    assert float(queue.rows.norm(dim=1).square().mean()) == pytest.approx(3 / 500)


def test_the_state_is_rows_labels_and_pointer():
    queue, again = LabelledQueue(4, 2, 5), LabelledQueue(4, 2, 5)
    queue.enqueue(*numbered(0, 6))
    again.load_state_dict(queue.state_dict())
    for one in (queue, again):
        one.enqueue(*numbered(6, 3))
    assert set(queue.state_dict()) == {"rows", "labels", "pointer"}
    for name, value in queue.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_takes_rows_of_lower_precision_and_with_gradients():
    queue = LabelledQueue(4, 2, 5)
    rows = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    queue.enqueue(rows, torch.tensor([0, 1]))
    assert queue.rows.dtype == torch.float32 and not queue.rows.requires_grad


def test_reads_nothing_on_the_host_and_loops_over_nothing():
    counts = []
    for count in (1, 3, 50):
        queue = LabelledQueue(8, 2, 5)
        with HostReads() as reads, OpCount() as kernels:
            queue.enqueue(*numbered(0, count))
        assert reads.found == []
        counts.append(kernels.count)
    assert len(set(counts)) == 1


@pytest.mark.parametrize("words", [(0, 2, 5), (4, 2, 5, "noise")])
def test_impossible_queues_are_refused(words):
    with pytest.raises(ValueError, match="at least one|masked, random or official"):
        LabelledQueue(*words)


def test_random_entries_are_unit_vectors_of_no_class():
    queue = LabelledQueue(50, 8, 3, "random")
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(50))
    assert queue.labels.tolist() == [-1] * 50 and len(queue.rows.unique(dim=0)) == 50


def test_random_entries_are_unit_vectors_side_by_side_in_parts():
    torch.manual_seed(0)
    queue = LabelledQueue(50, 12, 3, "random", parts=3)
    torch.testing.assert_close(queue.rows.unflatten(1, (3, 4)).norm(dim=2), torch.ones(50, 3))
