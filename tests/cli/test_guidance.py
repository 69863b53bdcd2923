"""What a run says before PyTorch is imported, and what it suggests when it is done."""

import pytest
from helpers.command_line import call, without_torch
from helpers.samples import sample

from lt_bench.cli.guidance import _duration, greeting, next_steps
from lt_bench.config.compose import compose
from lt_bench.files import write_json
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import setting_id
from lt_bench.record.record import PREDICTOR


def config_of(*words):
    return validate(compose(words))


def test_a_run_says_what_it_will_do_before_pytorch_is_imported(tmp_path):
    done = call("method=ce", "stage_two=cb", f"output_dir={tmp_path / 'runs'}", env=without_torch(tmp_path))
    lines = done.stderr.splitlines()
    assert lines[0].startswith(
        "lt_bench: CE on Digits-LT, imbalance 20, seed 0: stage one 300 epochs, stage two 45 epochs"
    )
    assert "no similar run" in lines[1] and "loading PyTorch" in lines[2]
    assert "torch was imported" in done.stderr and "torch was imported" not in "\n".join(lines[:3])


def test_silence_is_silent(tmp_path):
    done = call("progress=false", f"output_dir={tmp_path / 'runs'}", env=without_torch(tmp_path))
    assert "loading PyTorch" not in done.stderr


def test_the_time_is_that_of_earlier_runs(tmp_path):
    words = ("method=ce", "stage_two=none", "device=cpu", f"output_dir={tmp_path}")
    config = config_of(*words)
    cost = {"seconds": 1.0, "stage_one_seconds": 120.0, "images_per_second": 9, "device": "cpu"}
    write_json(tmp_path / "x" / "record.json", sample(run_id="x", setting_id=setting_id(config), cost=cost).to_dict())
    assert greeting(config, words)[1] == "about 2.0 min on cpu, as earlier runs in this folder"


def test_a_finished_run_suggests_what_can_be_typed(tmp_path):
    words = ("method=ce", "stage_two=none", "seed=3", "train.lr=0.1", "method.views=[plain]", f"output_dir={tmp_path}")
    config = config_of(*words)
    lines = next_steps(config, words)
    assert [line.split(":")[0] for line in lines] == ["next, tables of all runs", "next, another method beside it"]
    assert lines[0].endswith(f"python -m lt_bench.report --runs {tmp_path}")
    other = lines[1].partition("python -m lt_bench ")[2].split()
    assert other == ["method=balanced_softmax", "seed=3", "train.lr=0.1", f"output_dir={tmp_path}"]
    assert config_of(*other)
    folder = tmp_path / greeting(config, words)[0].split()[-1]
    folder.mkdir()
    (folder / PREDICTOR).touch()
    assert f"python -m lt_bench.predict {folder} IMAGES" in next_steps(config, words)[1]


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (("method=region_rebalance", "dataset=digit_scenes"), "segmentation_ce"),
        (("method=segmentation_ce", "dataset=digit_scenes"), "region_rebalance"),
        (("method=lift", "dataset=cifar100_lt", "backbone=clip_vit_b16"), "ce"),
        (("method=sbcl", "imbalance=if50", "train.batch_size=16"), "ce"),
    ],
)
def test_another_method_is_one_that_can_be_run_on_the_same_images(words, suggested, tmp_path):
    """Trained as this one, where the other has these settings."""
    words = (*words, f"output_dir={tmp_path}")
    (line,) = (line for line in next_steps(config_of(*words), words) if "another method" in line)
    other = line.partition("python -m lt_bench ")[2].split()
    assert other == [f"method={suggested}", *words[1:]] and config_of(*other)


def test_settings_that_the_other_method_refuses_are_left_out(tmp_path):
    words = ("method=simclr", "train.schedule.t_max=5", f"output_dir={tmp_path}")
    config = config_of("method=simclr", f"output_dir={tmp_path}")
    assert next_steps(config, words)[-1].endswith(f"python -m lt_bench method=ce output_dir={tmp_path}")


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (59, "59 s"), (90, "1.5 min"), (9000, "2.5 h")])
def test_a_time_has_the_unit_that_suits_it(seconds, said):
    assert _duration(seconds) == said
