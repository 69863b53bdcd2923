"""kill -9 at a hundred random moments, over methods and both stages: every run ends as if nothing had happened.

``python -m pytest -s tests/run/test_random_kills.py`` prints how many processes were killed, and where.
"""

import os
import random
import shutil
import time
from collections import Counter

import pytest
from helpers.chain import TINY, assert_identical, results
from helpers.command_line import wait_for

from lt_bench.launch.local.fork_server import ForkServer
from lt_bench.launch.planning.plan import plan
from lt_bench.launch.submission import Submission, freeze
from lt_bench.record.folder import code_version
from lt_bench.record.record import read_record

KILLS, SEED = 100, 7
WORDS = (*TINY, "budget.max_steps_per_epoch=3", "checkpoint.every_steps=1", "device=cpu")
RUNS = {
    "ce": "cb",
    "ldam_drw": "none",
    "supcon": "linear_probe",
    "sbcl": "ldam_drw",
    "bcl": "none",
    "paco": "none",
    "proco": "none",
    "simclr_gh": "linear_probe",
    "sdclr": "linear_probe",
    "boosted_cl": "linear_probe",
}
pytestmark = pytest.mark.slow


def frozen(output_dir, method, rule):
    """The folder of a run that is ready to start."""
    words = [*WORDS, f"method={method}", f"stage_two={rule}", "stage_two.train.epochs=4", f"output_dir={output_dir}"]
    (run,) = plan([word for word in words if rule != "none" or not word.startswith("stage_two.train")])
    return freeze(Submission(run.config, False, code_version(), run.overrides), run.identity)


def outcome(folder):
    return results(read_record(folder / "record.json"), folder)


def where(folder):
    """What a killed process was doing, by the files that it left."""
    kinds = [read_record(path).kind for path in folder.parent.glob("*/record.json")]
    return "stage two" if kinds else "stage one" if list(folder.parent.glob("*/checkpoint*.pt")) else "before"


def test_random_kills_cost_nothing(tmp_path, capsys):
    draw, killed = random.Random(SEED), Counter()
    server = ForkServer({**os.environ, "OMP_NUM_THREADS": "1"}, tmp_path)
    try:
        for method, rule in RUNS.items():
            calm, shaken = (frozen(tmp_path / name / method, method, rule) for name in ("calm", "shaken"))
            process, started = server.start(calm, calm / "log.txt"), time.monotonic()
            assert process.wait() == 0, (calm / "log.txt").read_text()
            seconds, expected, left = time.monotonic() - started, outcome(calm), KILLS // len(RUNS)
            while left:
                process = server.start(shaken, shaken / "log.txt")
                wait_for(lambda process=process: process.poll() is not None or process.pid)
                time.sleep(draw.uniform(0, 1.2 * seconds))
                process.kill()
                if process.wait():
                    left -= 1
                    killed[where(shaken)] += 1
                    continue
                assert_identical(outcome(shaken), expected)
                shutil.rmtree(shaken.parent)
                shaken = frozen(tmp_path / "shaken" / method, method, rule)
            assert server.start(shaken, shaken / "log.txt").wait() == 0
            assert_identical(outcome(shaken), expected)
    finally:
        server.close()
    with capsys.disabled():
        print(f"\nkilled over {len(RUNS)} methods: {dict(killed)}, all ended bit for bit equal")
    assert killed.total() == KILLS and min(killed["stage one"], killed["stage two"]) >= 5
