"""A job starts with its signals blocked."""

import subprocess
import sys

from lt_bench.launch.slurm import blocked_signals


def test_a_job_starts_with_its_signals_blocked():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); os.kill(os.getpid(), signal.SIGTERM); print(1)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", blocked_signals.__file__, "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
