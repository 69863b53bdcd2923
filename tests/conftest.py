"""Tests compute on one thread, as do the processes that they start; where one asks for more, they wait as in a run.

What the tests read of images is cached apart from what the user's own runs did.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from lt_bench.config import signatures
from lt_bench.machine import wait_briefly

pytest_plugins = ["helpers.golden_count"]

os.environ.setdefault("OMP_NUM_THREADS", "1")
wait_briefly()
# what hypothesis keeps stays out of the checkout
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "lt_bench-hypothesis"))
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["LT_BENCH_CACHE"] = tempfile.mkdtemp(prefix="lt_bench-cache-")
    atexit.register(shutil.rmtree, os.environ["LT_BENCH_CACHE"], ignore_errors=True)


# the files that take longest, most of it waiting: begun last, one of them would keep a single core busy at the end
LONGEST = (
    "launch/slurm/test_on_cluster.py",
    "fuzz/test_fuzz.py",
    "run/test_random_kills.py",
    "engine/test_two_processes_as_one.py",
    "run/test_run.py",
    "methods/test_large_backbone.py",
    "conf/test_conf.py",
    "benchmarks/test_scripts.py",
    "launch/test_sweep.py",
    "run/test_resume.py",
    "report/test_hostile.py",
    "test_terminal.py",
)
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """The longest files first; pytest-xdist keeps this order (``--no-loadscope-reorder``)."""
    if missing := [name for name in LONGEST if not (TESTS / name).is_file()]:
        raise pytest.UsageError(f"LONGEST in {__file__} names {', '.join(missing)}, which is not there")
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture
def metrics_end_with_the_test():
    """What a test enters into the table of metrics leaves it with the test."""
    from lt_bench.evaluation.metrics import METRICS

    kept = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(kept)


@pytest.fixture(autouse=True)
def own_modules_end_with_their_test(request):
    """Tests write modules of equal names into folders of their own: none finds, or imports, that of another."""
    # asked for here, so that the folder is still there afterwards
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    before = set(sys.modules)
    yield
    if folder is None or not any(folder.rglob("*.py")):
        return
    for name in set(sys.modules) - before:
        spec = getattr(sys.modules[name], "__spec__", None)
        if spec is not None and (spec.origin or "").startswith(str(folder)):
            del sys.modules[name]
    for read in (signatures._find, signatures.parameters, signatures.class_attribute, signatures.docstrings):
        read.cache_clear()
