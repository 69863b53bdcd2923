"""What a stranger adds without a change of the package: a method, a backbone, an optimiser, a metric."""

import re

import pytest
from helpers.chain import TINY
from helpers.installation import Installation

from lt_bench.record.record import read_record

METHOD = '''
"""Cross-entropy of softened logits."""

import torch.nn.functional as F

from lt_bench.methods.ce import CE


class SoftenedCE(CE):
    """Cross-entropy of logits over a temperature."""

    def __init__(self, encoder, info, *, views=("crop_flip",), softness: float = 1.0):
        super().__init__(encoder, info, views=views)
        self.softness = softness

    def loss(self, logits, labels, epoch):
        """Mean cross-entropy of softened logits (B, C) and labels (B,)."""
        return F.cross_entropy(logits / self.softness, labels)
'''
METHOD_FILE = """# @package _global_
# cross-entropy of softened logits
defaults:
  - ce
method:
  name: softened_ce
  title: Softened CE
  order: 12
  _target_: softened_ce.SoftenedCE
  softness: 2.0
"""
METRIC = '''
"""A metric of one's own."""

from lt_bench.evaluation.metrics import metric


@metric("best_class", column="best class", unit="%", better="higher")
def best_class(predictions):
    """Highest accuracy of a tested class."""
    return float(predictions.tested.max())
'''
BACKBONE_FILE = """# a residual network of two narrow blocks, 12 features
name: narrow
_target_: lt_bench.models.resnet_cifar.CifarResNet
blocks: [1, 1]
widths: [6, 12]
shortcut: padding
initialisation: default
"""
OPTIMIZER_FILE = """# @package train.optimizer
# Adadelta (Zeiler, 2012)
_target_: torch.optim.Adadelta
rho: 0.8
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """An installation with the stranger's files."""
    made = Installation(tmp_path_factory.mktemp("own"))
    (made.work / "softened_ce.py").write_text(METHOD.lstrip())
    (made.work / "own_metric.py").write_text(METRIC.lstrip())
    (made.conf / "method" / "softened_ce.yaml").write_text(METHOD_FILE)
    (made.conf / "backbone" / "narrow.yaml").write_text(BACKBONE_FILE)
    (made.conf / "optimizer" / "adadelta.yaml").write_text(OPTIMIZER_FILE)
    return made


OWN = ("method=softened_ce", "backbone=narrow", "optimizer=adadelta")


def test_help_lists_what_was_added_and_mistakes_in_it_are_found(installation):
    shown = installation.call("--help")
    assert shown.returncode == 0 and "softened_ce" in shown.stdout and "narrow" in shown.stdout, shown.stderr
    refused = installation.call("--dry-run", *OWN, "method.softnes=3")
    assert refused.returncode == 2 and "did you mean" in refused.stderr and "softness" in refused.stderr


def test_what_was_added_is_part_of_the_identity(installation):
    words = [(), ("method.softness=3",), ("backbone.widths=[6,18]",), ("train.optimizer.rho=0.7",)]
    said = [installation.call("--dry-run", *OWN, *more) for more in words]
    assert all(one.returncode == 0 for one in said), said
    assert len({one.stdout.split()[1] for one in said}) == len(words)


def test_the_recipe_is_that_of_the_data_set_and_method_that_an_added_experiment_chooses(installation):
    chosen = "defaults:\n  - override /dataset: fashion_mnist_lt\n  - override /method: bcl\n"
    (installation.conf / "experiment" / "chosen.yaml").write_text(f"# @package _global_\n{chosen}")
    typed = ("method=bcl", "dataset=fashion_mnist_lt")
    said = [installation.call("--dry-run", *words) for words in (("experiment=chosen",), typed)]
    assert [one.returncode for one in said] == [0, 0] and said[0].stdout.split()[1] == said[1].stdout.split()[1], said


@pytest.mark.slow
def test_what_was_added_runs_and_has_a_row_under_its_title(installation):
    for method in ("softened_ce", "ce", "ldam_drw"):
        done = installation.call(*TINY, f"method={method}", *OWN[1:], "stage_two=none")
        assert done.returncode == 0, done.stderr
    records = [read_record(path) for path in (installation.work / "runs").glob("*/record.json")]
    (own,) = [record for record in records if record.kind == "run" and record.method == "softened_ce"]
    assert (own.method_name, own.backbone, own.settings["method.softness"]) == ("Softened CE", "narrow", 2.0)
    assert own.settings["train.optimizer._target_"] == "torch.optim.Adadelta"
    words = ["--runs", "runs", "--out", "tables", "--metric", "own_metric.best_class"]
    reported = installation.python("-m", "lt_bench.report", *words)
    assert reported.returncode == 0, reported.stderr
    tables = "\n".join(path.read_text() for path in (installation.work / "tables").glob("*.md"))
    titles = re.findall(r"^\| (\S[^|]*) / ", tables, re.MULTILINE)
    assert titles == ["method", "CE", "Softened CE", "LDAM-DRW"] and "best class" in tables, tables
