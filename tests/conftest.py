"""Of the processes that share out the tests, each computes on one thread, as do those that a test starts.

What the tests read of images is cached apart from what the user's own runs did.
"""

import atexit
import os
import shutil
import tempfile

pytest_plugins = ["helpers.golden_count"]

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
else:
    os.environ["LT_BENCH_CACHE"] = tempfile.mkdtemp(prefix="lt_bench-cache-")
    atexit.register(shutil.rmtree, os.environ["LT_BENCH_CACHE"], ignore_errors=True)
