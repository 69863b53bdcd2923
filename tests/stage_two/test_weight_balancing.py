"""Weight balancing: the authors' epochs through the engine, MaxNorm, and what is refused."""

import pytest
import torch
from helpers.engine_parts import FixedBatches, Identity, Vectors, one_process, stage, training
from helpers.golden_vectors import golden
from torch import nn

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.loop import Trainer
from lt_bench.engine.schedules import Cosine
from lt_bench.errors import SettingError
from lt_bench.losses.reweighted import effective_number_weights
from lt_bench.models.heads import NormalizedLinear
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate
from lt_bench.stage_two.tau_norm import TauNormalized
from lt_bench.stage_two.weight_balancing import WeightBalancing

ARRAYS = {"rtol": 1e-5, "atol": 2e-6}
EPOCHS = 3  # the trace has no step of the fourth, whose rate is 0


def linear_of(weight, bias):
    linear = nn.Linear(weight.shape[1], len(weight)).double()
    linear.load_state_dict({"weight": weight, "bias": bias})
    return linear


def test_trains_as_the_authors_code_does(tmp_path):
    case = golden("mixing_weight_balancing")
    first = linear_of(case["init__weight"], case["init__bias"])
    counts = case["counts"]
    labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
    rule = WeightBalancing(augment=False, threshold=float(case["threshold"]))
    method = rule.build(Identity(first.in_features), first, TrainInfo(labels, len(counts), EPOCHS)).double()
    torch.testing.assert_close(method.classifier.radius, case["radius"], rtol=1e-8, atol=0)
    method.weights = effective_number_weights(counts, rule.beta)  # the buffer has single precision
    batches = [
        Batch((case[f"s{epoch}_features"],), case[f"s{epoch}_labels"], torch.arange(9)) for epoch in range(EPOCHS)
    ]
    source = FixedBatches(batches, case["s0_labels"])  # nine images: one step an epoch
    optimizer = {"momentum": float(case["momentum"]), "weight_decay": float(case["weight_decay"])}
    schedule = Cosine(0.01, EPOCHS + 1, span="to_zero")
    run = one_process(source)
    settings = training(EPOCHS, 9, 0.01, **optimizer)
    trainer = Trainer(method, source, settings, schedule, run, stage(tmp_path))
    step, seen = trainer._step, []

    def recorded(batch, epoch, number, lr):
        if epoch > 0:
            torch.testing.assert_close(method.classifier.weight.detach(), case[f"s{epoch - 1}_weight"], **ARRAYS)
        terms = step(batch, epoch, number, lr)
        assert lr == pytest.approx(float(case[f"s{epoch}_lr"]), rel=1e-8)
        torch.testing.assert_close(terms["loss"], case[f"s{epoch}_loss"], rtol=1e-8, atol=0)
        before = case[f"s{epoch}_weight_before_projection"]
        torch.testing.assert_close(method.classifier.weight.detach(), before, **ARRAYS)
        torch.testing.assert_close(method.classifier.bias.detach(), case[f"s{epoch}_bias"], **ARRAYS)
        seen.append(epoch)
        return terms

    trainer._step = recorded
    trainer.fit()
    assert seen == [0, 1, 2]
    found = rule.finish(method, run)
    torch.testing.assert_close(found.weight.detach(), case["s2_weight"], **ARRAYS)
    torch.testing.assert_close(found.bias.detach(), case["s2_bias"], **ARRAYS)
    assert torch.equal(first.weight, case["init__weight"])  # stage one's classifier is not touched
    for tau in (1.0, 1.9):
        normalized = TauNormalized(tau).finish(TauNormalized(tau).build(Vectors(), first, None), run)
        torch.testing.assert_close(normalized.weight, case[f"normalized_{tau}"], **ARRAYS)


LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
INFO = TrainInfo(LABELS, 3, 10)


def built(**settings):
    torch.manual_seed(0)
    return WeightBalancing(augment=False, **settings).build(Vectors(), nn.Linear(8, 3), INFO)


def test_rows_beyond_the_radius_count_as_shortened_wherever_the_classifier_is_evaluated():
    method, features = built(threshold=0.5), torch.randn(5, 8)
    raw = features @ method.classifier.weight.T + method.classifier.bias
    method.train()
    torch.testing.assert_close(method.classifier(features), raw)
    method.eval()
    before = method.classifier(features)
    assert not torch.allclose(before, raw)
    torch.testing.assert_close(before, WeightBalancing().finish(method, one_process(None))(features))
    norms = method.classifier.weight.detach().norm(dim=1)
    method.on_epoch_start(0, one_process(None))
    assert torch.equal(norms, method.classifier.weight.detach().norm(dim=1))
    method.on_epoch_start(1, one_process(None))
    short = method.classifier.weight.detach().norm(dim=1)
    torch.testing.assert_close(short, norms.clamp(max=float(method.classifier.radius)))
    torch.testing.assert_close(method.classifier(features), before)


def test_without_a_threshold_weight_decay_is_left_alone():
    method, features = built(threshold=None).eval(), torch.randn(5, 8)
    method.on_epoch_start(1, one_process(None))
    found = WeightBalancing(threshold=None).finish(method, one_process(None))
    assert torch.equal(found.weight, method.classifier.weight)
    torch.testing.assert_close(found(features), method.classifier(features))


def test_its_recipe_is_the_published_one():
    rule = validate(compose(["method=ce", "dataset=cifar100_lt", "stage_two=weight_balancing"])).stage_two
    train, schedule = rule.train, build(rule.train.schedule, "stage_two.train.schedule")
    assert (train.epochs, train.batch_size, train.sampler) == (10, 64, "shuffle")
    assert (rule.options["threshold"], rule.options["beta"], train.optimizer["weight_decay"]) == (0.1, 0.9999, 0.1)
    rates = torch.tensor([schedule(epoch, 0, 1) for epoch in range(10)], dtype=torch.float64)
    torch.testing.assert_close(rates, golden("mixing_lr")["weight_balancing_stage2"].double(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("values", [{"threshold": -0.1}, {"threshold": 1.1}, {"beta": 1.0}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(SettingError, match=next(iter(values))):
        WeightBalancing(**values)


@pytest.mark.parametrize("classifier", [None, NormalizedLinear(8, 3)])
def test_a_classifier_that_is_not_linear_is_refused(classifier):
    with pytest.raises(ValueError, match="stage_two=weight_balancing .* set stage_two=cb"):
        WeightBalancing().build(Vectors(), classifier, INFO)
