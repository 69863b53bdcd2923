"""Freed memory is reused: no new pages after the first round, seen from a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from lt_bench.engine.allocator import keep_freed_memory

def touch():
    [torch.ones(1 << 19) for _ in range(8)]

def pages(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        touch()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / rounds

kept = keep_freed_memory()
pages(3)
print(int(kept), pages(10))
"""


def test_kept_memory_needs_no_new_pages():
    pytest.importorskip("resource")
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    kept, pages = output.split()
    if kept == "0":
        pytest.skip("the allocator of this system is not glibc's")
    # 8 tensors of 2 MB are 4096 pages
    assert float(pages) < 100
