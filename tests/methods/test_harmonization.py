"""Geometric harmonization: the authors' score memories and priors, its epochs, and how it is switched on."""

import math

import pytest
import torch
from helpers.configs import refusal
from helpers.golden_vectors import golden
from helpers.self_supervised import assert_near

from lt_bench.config.compose import compose
from lt_bench.errors import SettingError, UsageError, keyed
from lt_bench.losses.gh import direction_scores, geometric_harmonization
from lt_bench.methods.harmonization import Harmonization, HarmonizationSettings
from lt_bench.preflight.validate import validate
from lt_bench.record.identity import identity_values


def component(images=6, dim=5, **settings):
    torch.manual_seed(0)
    return Harmonization(HarmonizationSettings(**({"target_dim": 4, "warm_epochs": 2} | settings)), images, dim)


def of_case(case, **settings):
    """The component of a golden case, in double precision."""
    settings |= {"warm_epochs": int(case["warm_up"]), "momentum": float(case["beta_before"])}
    settings |= {"late_momentum": float(case["beta_after"]), "target_dim": len(case["target"])}
    made = component(case["features"].shape[1], case["target"].shape[1], **settings).double()
    made.directions.copy_(case["target"])
    return made


def visit(harmonization, features, order, batch_size, epoch):
    """One epoch of batches; the second view does not matter to the memory."""
    for indices in order.long().split(batch_size):
        harmonization(features[indices].double(), features[indices].double(), indices, epoch)


@pytest.mark.parametrize("name", ["c0", "c1"])
@pytest.mark.parametrize("refresh", ["epoch", "step"])
def test_memory_and_prior_are_those_of_the_authors_cifar_code(name, refresh):
    case = golden("gh_prior_cifar", name)
    harmonization = of_case(case, prior_refresh=refresh)
    renewed = []
    for epoch, (features, order) in enumerate(zip(case["features"], case["orders"], strict=True)):
        harmonization.on_epoch_start(epoch)
        visit(harmonization, features, order, int(case["batch_size"]), epoch)
        assert_near(harmonization.memory, case["score_memory"][epoch], 1e-6)
        if harmonization.renews_prior(epoch):
            renewed.append(epoch)
            if refresh == "epoch":
                harmonization.on_epoch_start(epoch + 1)
            torch.testing.assert_close(harmonization.prior, case["priors"][len(renewed) - 1], rtol=0, atol=1e-12)
    assert renewed == case["prior_epochs"].tolist()


@pytest.mark.parametrize("name", ["c0", "c1"])
def test_memory_and_prior_are_those_of_the_authors_code_for_large_images(name):
    case = golden("gh_prior_imagenet", name)
    harmonization = of_case(case, memory_start=10, prior_floor=float(case["floor"]), prior_lead=1)
    order, renewed = torch.arange(len(harmonization.memory)), []
    for row, number in enumerate(case["epochs"].tolist()):
        harmonization.on_epoch_start(number - 1)
        visit(harmonization, case["features"][row], order, 7, number - 1)
        assert_near(harmonization.memory, case["score_memory"][row], 1e-6)
        if harmonization.renews_prior(number - 1):
            renewed.append(number)
            harmonization.on_epoch_start(number)
            torch.testing.assert_close(harmonization.prior, case["priors"][len(renewed) - 1], rtol=0, atol=1e-12)
    assert renewed == case["prior_epochs"].tolist()


def test_the_memory_equals_a_loop_over_images():
    harmonization, expected = component(images=9, momentum=0.8, late_momentum=0.6), torch.zeros(9, 4)
    generator = torch.Generator().manual_seed(1)
    for epoch in range(4):
        views = torch.randn(2, 9, 5, generator=generator)
        for indices in torch.randperm(9, generator=generator).split(4):
            harmonization(views[0][indices], views[1][indices], indices, epoch)
            scores = direction_scores(views[0][indices], harmonization.directions)
            for index, row in zip(indices.tolist(), scores, strict=True):
                beta = 0.0 if epoch == 0 else 0.8 if epoch < 2 else 0.6
                expected[index] = beta * expected[index] + (1 - beta) * row
    torch.testing.assert_close(harmonization.memory, expected)


def test_the_first_scores_of_an_image_are_taken_as_they_are_in_any_epoch():
    harmonization, view = component(memory_start=1), torch.randn(6, 5)
    scores = direction_scores(view, harmonization.directions)
    harmonization.remember(scores[:4], torch.arange(4), 0)
    harmonization.remember(scores[3:], torch.arange(3, 6), 1)  # the last two are new
    torch.testing.assert_close(harmonization.memory, scores)


def test_images_that_were_never_seen_do_not_count_in_the_prior():
    harmonization = component(images=6)
    harmonization.renew_prior()
    assert torch.equal(harmonization.prior, torch.full((4,), 0.25))  # nothing is known yet
    harmonization.memory[:3] = torch.eye(4)[[2, 2, 3]]
    harmonization.renew_prior()
    torch.testing.assert_close(harmonization.prior, torch.tensor([0, 0, 2 / 3, 1 / 3]))
    floored = component(images=6, prior_floor=1.0)
    floored.memory[:3] = torch.eye(4)[[2, 2, 3]]
    floored.renew_prior()
    torch.testing.assert_close(floored.prior, torch.tensor([1, 1, 3, 2]) / 7)


def test_no_loss_and_no_gradient_during_the_warm_up():
    harmonization, views = component(), torch.randn(2, 6, 5, requires_grad=True)
    for epoch in (0, 1):
        assert harmonization.weight(epoch) == 0
        loss = harmonization(*views, torch.arange(6), epoch)
        assert not loss.requires_grad and float(loss) == 0
    assert harmonization(*views, torch.arange(6), 2).requires_grad


def test_each_view_predicts_the_assignment_of_the_other_under_the_prior():
    harmonization, views = component(sinkhorn_iterations=3000, temperature=0.3), torch.randn(2, 6, 5)
    harmonization.prior.copy_(torch.tensor([0.4, 0.3, 0.3, 0.0]))
    loss = harmonization(*views, torch.arange(6), 5)
    scores = [direction_scores(view, harmonization.directions) for view in views]
    assignments = [harmonization._assignment(one) for one in scores]
    for one in assignments:
        torch.testing.assert_close(one.mean(0), harmonization.prior, rtol=0, atol=1e-3)
    torch.testing.assert_close(loss, geometric_harmonization(*scores, *assignments, 0.3))


def test_the_ramp_and_its_lead():
    weights = [component(warm_epochs=3, ramp_epochs=4, weight=2.0).weight(epoch) for epoch in range(9)]
    assert weights == [0, 0, 0, 0.5, 1, 1.5, 2, 2, 2]
    weights = [component(warm_epochs=3, ramp_epochs=4, ramp_lead=1).weight(epoch) for epoch in range(7)]
    assert weights == [0, 0, 0, 0.5, 0.75, 1, 1]


def test_the_whole_state_is_in_buffers():
    assert set(component().state_dict()) == {"directions", "memory", "prior"}


def test_directions():
    torch.testing.assert_close(_cosines(component(target_dim=6)), _simplex_cosines(6))
    assert float(_cosines(component(target_dim=12)).fill_diagonal_(-1).max()) < 0.6  # more than fit in a simplex
    assert not torch.allclose(_cosines(component(target_dim=6, construction="official")), _simplex_cosines(6))
    with pytest.raises(SettingError, match="target_dim is from 2 to 6, .*, not 12"):
        component(target_dim=12, construction="official")


def _cosines(harmonization):
    return harmonization.directions @ harmonization.directions.T


def _simplex_cosines(count):
    return torch.full((count, count), -1 / (count - 1)).fill_diagonal_(1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warm_epochs": 0}, "warm_epochs is at least 1, not 0; set method.harmonization.warm_epochs=500"),
        (
            {"memory_start": 501},
            "memory_start is at most 500, .* read from the memory, not 501; set method.harmonization.memory_start=1",
        ),
        ({"ramp_epochs": 0}, "ramp_epochs is at least 1"),
        ({"sinkhorn_iterations": 0}, "sinkhorn_iterations is at least 1"),
        ({"target_dim": 1}, "target_dim is at least 2.*; set method.harmonization.target_dim=100"),
        ({"temperature": 0.0}, "temperature is positive.*; set method.harmonization.temperature=0.1"),
        ({"temperature": math.inf}, "temperature is positive and finite, not inf"),
        ({"epsilon": -1.0}, "epsilon is positive"),
        ({"epsilon": math.inf}, "epsilon is positive and finite, not inf"),
        ({"momentum": 1.0}, "momentum is at least 0 and below 1.*; set method.harmonization.momentum=0.9"),
        ({"weight": -1.0}, "weight is finite, 0 or more.*; set method.harmonization.weight=1"),
        ({"weight": math.inf}, "weight is finite, 0 or more, not inf"),
        ({"prior_floor": math.inf}, "prior_floor is finite, 0 or more, not inf"),
        ({"prior_floor": -1.0}, "prior_floor is finite, 0 or more"),
        (
            {"sinkhorn_tolerance": 0.0},
            "sinkhorn_tolerance is positive or null.*; set method.harmonization.sinkhorn_tolerance=null",
        ),
        (
            {"construction": "etf"},
            "construction is simplex or official, not 'etf'; set method.harmonization.construction=simplex",
        ),
        ({"prior_refresh": "batch"}, "prior_refresh is epoch or step, not 'batch'"),
    ],
)
def test_values_out_of_range_are_refused(settings, said):
    with pytest.raises(UsageError, match=said), keyed("method.harmonization"):
        HarmonizationSettings(**settings)


# on the command line


def test_its_keys_are_checked_like_those_of_any_class():
    config = validate(compose(["method=simclr_gh", "method.harmonization.sinkhorn_iterations=50"]))
    assert config.method["harmonization"]["sinkhorn_iterations"] == 50
    assert identity_values(config)["method.harmonization.sinkhorn_iterations"] == 50
    assert "method.harmonization.epsilon" not in identity_values(config)  # its default
    assert "did you mean sinkhorn_iterations?" in refusal(
        "method=simclr_gh", "method.harmonization.sinkhorn_iteration=5"
    )
    assert "takes a whole number" in refusal("method=simclr_gh", "method.harmonization.target_dim=x")
    assert "no single value" in refusal("method=simclr_gh", "method.harmonization=3")
    assert "names no class" in refusal("method=simclr", "method.harmonization.target_dim=3")
    assert "unknown key method.harmonization" in refusal("method=ce", "method.harmonization.target_dim=3")


@pytest.mark.parametrize("name", ["simclr", "boosted_cl"])
@pytest.mark.parametrize("word", ["method.harmonization=null", "~method.harmonization"])
def test_a_method_that_is_named_after_it_has_it(name, word):
    said = f"method={name}_gh needs method.harmonization; set method={name} to train without"
    assert refusal(f"method={name}_gh", word) == said


def test_the_official_form_of_its_options():
    official = validate(compose(["method=simclr_gh", "dataset=cifar100_lt", "fidelity=official"])).method
    assert (official["views"], official["default_weights"]) == (["ssl_bilinear", "ssl_bilinear"], True)
    kept = official["harmonization"]
    assert (kept["construction"], kept["prior_refresh"], kept["target_dim"]) == ("official", "step", 100)


def test_the_fair_experiment_gives_baselines_the_learning_rates_of_harmonized_runs():
    words = ["dataset=cifar100_lt", "backbone=resnet18_cifar"]
    for method in ("simclr", "focal"):
        fair = validate(compose(["experiment=gh_fair_schedule", f"method={method}", *words]))
        harmonized = validate(compose([f"method={method}_gh", *words]))
        assert fair.train == harmonized.train != validate(compose([f"method={method}", *words])).train
        assert "harmonization" not in fair.method
