"""Tests compute on one thread, as do the processes that they start; where one asks for more, they wait as in a run.

What the tests read of images is cached apart from what the user's own runs did.
"""

import atexit
import os
import shutil
import tempfile

from lt_bench.machine import wait_briefly

pytest_plugins = ["helpers.golden_count"]

os.environ.setdefault("OMP_NUM_THREADS", "1")
wait_briefly()
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["LT_BENCH_CACHE"] = tempfile.mkdtemp(prefix="lt_bench-cache-")
    atexit.register(shutil.rmtree, os.environ["LT_BENCH_CACHE"], ignore_errors=True)
