"""The benchmark of sweeps at a tiny size: it ends, and both sides have the same results."""

import sys

import pytest
from benchmarks import bench_sweep


@pytest.mark.slow
def test_forks_and_new_processes_agree(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_sweep.py", "--runs", "2"])
    assert bench_sweep.main() == 0
    assert "ratio of seconds" in capsys.readouterr().out
