"""Few-shot probe: so many images of every class, other ones with another seed, on one stage one."""

import pytest
import torch
from helpers.chain import execute, tiny

from lt_bench.engine.loop import Trainer
from lt_bench.errors import UsageError, keyed
from lt_bench.stage_two.few_shot_probe import FewShotProbe


@pytest.fixture
def probed(tmp_path, monkeypatch):
    """Carry out a few-shot probe; its record and the features it was fitted on."""
    seen = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: seen.append(self.source) or fit(self))

    def run(*words):
        record, _ = execute(tiny(tmp_path, "method=ce", "stage_two=few_shot_probe", *words))
        return record, seen[-1]

    return run


@pytest.mark.parametrize("shots", [1, 5, 100])
def test_every_class_has_so_many_shots(shots, probed):
    record, source = probed(f"stage_two.shots={shots}")
    assert torch.bincount(source.labels).tolist() == [shots] * 10 and len(source.features) == 10 * shots
    assert record.stage_two_name == f"{shots}-shot" and record.metrics["train_counts"][-1] == 6


def test_draws_share_stage_one_and_setting_and_are_recorded(probed):
    (first, one), (second, other) = (probed("stage_two.shots=5", f"stage_two.shot_seed={seed}") for seed in (0, 1))
    assert first.run_id != second.run_id
    assert (first.setting_id, first.stage_one_id) == (second.setting_id, second.stage_one_id)
    assert [record.settings["stage_two.shot_seed"] for record in (first, second)] == [0, 1]
    assert one.features.shape == other.features.shape and not torch.equal(one.features, other.features)


def test_more_shots_than_a_class_has_are_refused_before_stage_one(tmp_path):
    words = ("method=ce", "stage_two=few_shot_probe", "stage_two.shots=101", "dataset.validation_per_class=20")
    with pytest.raises(UsageError, match=r"stage_two.shots=101, but class 0 has 100 images .* at most 100"):
        execute(tiny(tmp_path, *words))
    assert not list(tmp_path.glob("*/checkpoint.pt"))


@pytest.mark.parametrize(
    ("values", "message"), [({"shots": 0}, "set stage_two.shots=100"), ({"shot_seed": -1}, "set stage_two.shot_seed=0")]
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(UsageError, match=message), keyed("stage_two"):
        FewShotProbe(**values)
