"""Every benchmark at a tiny size: it ends, its sides agree, and it prints a ratio."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(Path(__file__).parent.glob("bench_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_ends_and_agrees_and_prints_a_ratio(script, tmp_path):
    command = [sys.executable, script, "--tiny", "--write", tmp_path / "found.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["rows"]
    reasons = {row["reason"] for row in rows if "reason" in row}
    if reasons and not any("ours" in row for row in rows):
        pytest.skip("; ".join(sorted(reasons)))
    assert rows and re.search(r"^  ratio +[\d.]+ x$", done.stdout, re.MULTILINE), done.stdout
