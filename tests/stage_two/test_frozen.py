"""What every trained stage-two rule in conf/ shares: the encoder is frozen and, by their options, in eval mode."""

import pytest
import torch
from helpers.chain import class_of, classifier_for, trained_rules
from helpers.engine_parts import Constant as ConstantRate
from helpers.engine_parts import FixedBatches, one_process, stage, training
from torch import nn

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer

TRAINED = trained_rules()
LABELS = torch.arange(12) % 3


class Normed(nn.Module):
    """An encoder with batch norm, to see its running statistics."""

    feature_dim = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.BatchNorm1d(4))

    def forward(self, images):
        return self.layers(images)


def built(rule, augment):
    torch.manual_seed(0)
    encoder = Normed()
    kind = class_of("stage_two", rule)
    without = {"mixup_alpha": 0.0, "shift_bn": False}  # what cached features cannot have
    plain = {name: value for name, value in without.items() if name in kind.__dataclass_fields__}
    return kind(augment=augment, **plain).build(encoder, classifier_for(rule, 4, 3), TrainInfo(LABELS, 3, 2))


def test_there_are_trained_rules():
    assert {"cb", "ldam_drw"} <= set(TRAINED)


@pytest.mark.parametrize("rule", TRAINED)
def test_training_changes_the_classifier_and_nothing_of_the_encoder(rule, tmp_path):
    method = built(rule, augment=True)
    assert method.views == ("crop_flip",)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    images = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    source = FixedBatches([Batch((images,), LABELS, torch.arange(12))])
    Trainer(method, source, training(2, 12), ConstantRate(0.1), one_process(source), stage(tmp_path)).fit()
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("classifier.") for name in changed)


@pytest.mark.parametrize("rule", TRAINED)
def test_cached_features_give_the_loss_of_the_images(rule):
    images = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    on_images, on_features = built(rule, augment=True), built(rule, augment=False)
    assert on_features.views == ("features",)
    on_images.train()
    with torch.no_grad():
        features = on_images.encoder(images)
    run = one_process(None)
    losses = [
        method(Batch((view,), LABELS, torch.arange(12)), 0, 0, run)["loss"]
        for method, view in ((on_images, images), (on_features, features))
    ]
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("rule", [rule for rule in TRAINED if rule != "weight_balancing"])  # another with its weights
def test_finish_gives_the_trained_classifier(rule):
    method = built(rule, augment=False)
    assert class_of("stage_two", rule)().finish(method, one_process(None)) is method.classifier
