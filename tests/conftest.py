"""Tests compute on one thread, as do the processes that they start; where one asks for more, they wait as in a run."""

import os

from lt_bench.machine import wait_briefly

pytest_plugins = ["helpers.golden_count"]

os.environ.setdefault("OMP_NUM_THREADS", "1")
wait_briefly()
