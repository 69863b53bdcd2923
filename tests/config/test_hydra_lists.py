"""The list of files is that of Hydra's public function, less the files of Hydra's own settings."""

import pytest
from hydra import initialize_config_module
from hydra._internal import defaults_list
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from lt_bench.config.compose import choices, parse
from lt_bench.config.hydra_lists import list_of
from lt_bench.config.schema import register

WORDS = [
    ["method=sbcl"],
    ["method=simclr_gh", "dataset=cifar100_lt", "fidelity=official", "imbalance=if50"],
    ["method=bcl", "dataset=imagenet_lt", "tracker=[wandb,tensorboard]", "launch=slurm_packed"],
    ["experiment=digits_demo", "stage_two=ncm", "budget=smoke"],
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_the_files_their_order_and_their_nodes_are_hydras(words):
    register()
    chosen = [*choices(parse(words)), "hydra.searchpath=[]"]
    with initialize_config_module("lt_bench.conf", version_base="1.3"):
        expected = GlobalHydra.instance().config_loader().compute_defaults_list("config", chosen, RunMode.RUN)
    make = defaults_list._create_interpolation_map
    found = list_of(chosen[:-1], [], read_once=True)
    files = [(one.config_path, one.package, one.is_self, one.override_key) for one in expected.defaults]
    listed = [(one.config_path, one.package, one.is_self, one.override_key) for one in found.defaults]
    assert [one for one in files if not one[0].startswith("hydra/")] == listed
    ours = {group: one for group, one in expected.overrides.known_choices.items() if not group.startswith("hydra/")}
    assert ours == found.overrides.known_choices and defaults_list._create_interpolation_map is make
