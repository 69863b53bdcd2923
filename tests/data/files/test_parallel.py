"""A function of many items in several processes: results in order, and only a few ahead of the reader."""

import time

from lt_bench.data.files.parallel import CHUNK, in_parallel


def test_results_come_in_order_from_several_processes():
    names = [str(number) for number in range(200)]
    assert list(in_parallel(int, names, 2, "counting", False)) == list(range(200))


def noted(item):
    """The item, after a line on it in a file."""
    with open(item[0], "a") as file:
        file.write("x")
    return item[1]


def test_results_do_not_pile_up_where_they_are_read_slowly(tmp_path):
    notes, count = tmp_path / "notes", 40 * CHUNK
    results = in_parallel(noted, [(str(notes), number) for number in range(count)], 2, "counting", False)
    first = next(results)
    time.sleep(1)
    assert first == 0 and len(notes.read_text()) <= 5 * CHUNK
    assert list(results) == list(range(1, count)) and len(notes.read_text()) == count
