"""Of the processes that share out the tests, each computes on one thread, as do those that a test starts."""

import os

pytest_plugins = ["helpers.golden_count"]

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
