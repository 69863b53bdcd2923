"""Records of runs, for tests of plans and estimates."""

import pytest
from helpers.samples import metrics, sample

from lt_bench.record.identity import setting_id


@pytest.fixture
def record():
    """A record of a run on one process."""

    def made(run, seconds, stage_one_seconds, **changes):
        config = run.config
        values = {
            "run_id": run.identity, "stage_one_id": run.stage_one, "setting_id": setting_id(config),
            "method": config.method["name"], "dataset": config.dataset.name, "backbone": config.backbone["name"],
            "stage_two": config.stage_two.name, "budget": config.budget.name, "metrics": metrics(0.9),
            "cost": {"seconds": seconds, "stage_one_seconds": stage_one_seconds, "device": "H100"},
        }  # fmt: skip
        return sample(**values, **changes)

    return made
