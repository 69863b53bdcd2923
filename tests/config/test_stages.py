"""The names of the stages; random streams and records have them, so they never change."""

from lt_bench.config.stages import StageName


def test_names():
    assert [stage.value for stage in StageName] == ["stage one", "stage two"]
    assert [stage.key for stage in StageName] == ["stage_one", "stage_two"]
    assert [stage.kind for stage in StageName] == ["stage_one", "run"]
    assert [stage.training for stage in StageName] == ["train", "stage_two.train"]
