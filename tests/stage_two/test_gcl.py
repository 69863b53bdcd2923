"""GCL as stage two: the authors' trace on a frozen encoder, and what it needs of stage one."""

import pytest
import torch
from helpers.engine_parts import Pictures, Vectors
from helpers.golden_vectors import golden
from helpers.mixing_steps import as_clouded, as_drawn, follow
from torch import nn

from lt_bench.contracts import TrainInfo
from lt_bench.errors import SettingError, UsageError
from lt_bench.losses.gaussian_cloud import cloud_sizes
from lt_bench.models.heads import NormalizedLinear
from lt_bench.stage_two.gcl import GCL

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([12, 5, 3]))


def test_trains_as_the_authors_code_does(tmp_path, monkeypatch):
    file, case = "mixing_step_gcl_stage2", golden("mixing_step_gcl_stage2")
    as_drawn(monkeypatch, case)
    as_clouded(monkeypatch, case)
    epochs = [int(case[f"s{number}_epoch"]) for number in range(int(case["steps"]))]

    def kind(encoder: Pictures, info: TrainInfo) -> nn.Module:
        return GCL().build(encoder, NormalizedLinear(6, info.num_classes, 30.0), info)

    sizes = lambda counts: {"clouds.sizes": cloud_sizes(counts)}  # noqa: E731
    follow(file, kind, tmp_path, epochs, sizes, eval_scale=20.0)


def test_stage_ones_classifier_is_copied_and_left_alone():
    trained = NormalizedLinear(8, 3, 30.0)
    method = GCL().build(Vectors(), trained, TrainInfo(LABELS, 3, 10))
    assert torch.equal(method.classifier.weight, trained.weight) and method.classifier.weight is not trained.weight
    assert method.classifier.scale == 20.0
    assert not any(parameter.requires_grad for parameter in method.encoder.parameters())


@pytest.mark.parametrize("classifier", [None, nn.Linear(8, 3)])
def test_needs_a_normalised_classifier(classifier):
    with pytest.raises(UsageError, match="needs a normalised classifier.*set stage_two=cb"):
        GCL().build(Vectors(), classifier, TrainInfo(LABELS, 3, 10))


def test_features_that_are_kept_cannot_be_mixed():
    with pytest.raises(SettingError, match="augment"):
        GCL(augment=False)
    assert GCL(augment=False, mixup_alpha=0).build(Vectors(), NormalizedLinear(8, 3), TrainInfo(LABELS, 3, 10))
