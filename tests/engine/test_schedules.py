"""Learning rates against the authors' own, and under small budgets."""

from pathlib import Path

import numpy as np
import pytest

from lt_bench.config.compose import compose
from lt_bench.engine.schedules import Cosine, Exponential, GHTwoStage, SBCLCosine, Steps, WarmupCosine
from lt_bench.methods.harmonization import Harmonization, HarmonizationSettings
from lt_bench.preflight.build import build
from lt_bench.preflight.validate import validate

GOLDEN = Path(__file__).parents[1] / "golden"


def per_epoch(schedule, epochs):
    """The rates of all epochs, which do not depend on the step."""
    rates = [schedule(epoch, 0, 7) for epoch in range(epochs)]
    assert rates == [schedule(epoch, 6, 7) for epoch in range(epochs)]
    return rates


@pytest.mark.parametrize("case", "ab")
@pytest.mark.parametrize(("mode", "prefix"), [("clean", "recommended"), ("official", "official")])
def test_sbcl_matches_the_published_schedule(case, mode, prefix):
    data = {key[2:]: value for key, value in np.load(GOLDEN / "sbcl_lr.npz").items() if key.startswith(f"{case}_")}
    epochs, warm_epochs, steps = (int(data[key]) for key in ("epochs", "warm_epochs", "iters_per_epoch"))
    settings = {"decay_rate": float(data["lr_decay_rate"]), "warmup_from": float(data["warmup_from"])}
    schedule = SBCLCosine(float(data["lr"]), epochs, warm_epochs=warm_epochs, warmup_mode=mode, **settings)
    rates = [[schedule(epoch, step, steps) for step in range(steps)] for epoch in range(13)]
    np.testing.assert_allclose(rates, data[f"{prefix}_first13_epochs"], rtol=1e-9)
    first = warm_epochs + (mode == "official")
    rates = [schedule(epoch, 3, steps) for epoch in range(first, epochs)]
    np.testing.assert_allclose(rates, data["cosine_per_epoch"][first:], rtol=1e-9)


@pytest.mark.parametrize("case", "ab")
def test_sbcl_without_warm_up_is_the_cosine_alone(case):
    data = np.load(GOLDEN / "sbcl_lr.npz")
    epochs = int(data[f"{case}_epochs"])
    for mode in ("clean", "official"):
        schedule = SBCLCosine(float(data[f"{case}_lr"]), epochs, warm_epochs=0, warmup_mode=mode)
        np.testing.assert_allclose(per_epoch(schedule, epochs), data[f"{case}_cosine_per_epoch"], rtol=1e-9)


@pytest.mark.parametrize(("epochs", "warm_epochs"), [(1, 0), (1, 1), (1, 10), (2, 1), (10, 1), (11, 10)])
def test_sbcl_stays_between_its_ends_in_short_runs(epochs, warm_epochs):
    schedule = SBCLCosine(0.5, epochs, warm_epochs=warm_epochs)
    rates = [schedule(epoch, step, 2) for epoch in range(epochs) for step in range(2)]
    assert all(0 < rate <= 0.5 for rate in rates)
    assert rates[0] == (0.01 if epochs > 1 else 0.5)


def test_cosine_from_the_peak_is_one_half_of_sbcl_with_moco():
    data = np.load(GOLDEN / "sbcl_lr.npz")
    epochs = int(data["moco_epochs_per_phase"])
    rates = per_epoch(Cosine(float(data["moco_lr"]), epochs), epochs)
    np.testing.assert_allclose(rates, data["moco_lr_per_epoch_of_phase"], rtol=1e-9)


def test_cosine_to_zero_is_sbcls_class_balanced_stage_two():
    data = np.load(GOLDEN / "cb_lr.npz")
    rates = per_epoch(Cosine(float(data["sbcl_cb45_lr"]), 45, warm_epochs=5, span="to_zero"), 45)
    np.testing.assert_allclose(rates, data["sbcl_cb45_lr_per_epoch"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["imagenet_crt", "inat_crt", "places_crt", "imagenet_lws"])
def test_cosine_covers_classifier_retraining(name):
    data = np.load(GOLDEN / "cb_lr.npz")
    lr, epochs = float(data[f"{name}_lr"]), int(data[f"{name}_epochs"])
    spans = {"from_peak": "intended_per_epoch", "to_zero": "as_executed_with_modern_torch"}
    for span, key in spans.items():
        rates = per_epoch(Cosine(lr, epochs, span=span), epochs)
        np.testing.assert_allclose(rates, data[f"{name}_{key}"], rtol=1e-9, atol=1e-11)


PACO_CIFAR = {"lr": 0.05, "milestones": [321, 361], "warm_epochs": 10}
PUBLISHED = {
    "bcl_imagenet_90": Cosine(0.1, 90, span="open"),
    "bcl_inat_100": Cosine(0.2, 100, span="open"),
    "bcl_cifar_200": Steps(0.15, [160, 180], warm_epochs=5),
    "bcl_cifar_400": Steps(0.15, [360, 380], warm_epochs=10),
    "paco_cifar_400": Steps(**PACO_CIFAR, warm_mode="official"),
    "paco_lt_400_lr002": Cosine(0.02, 400, warm_epochs=10, span="open"),
    "paco_lt_400_lr003": Cosine(0.03, 400, warm_epochs=10, span="open"),
    "paco_places_30": Cosine(0.02, 30, warm_epochs=5, span="open"),
    "paco_full_400": Cosine(0.04, 400, warm_epochs=10, span="open"),
    "gpaco_lt_400_lr004": Cosine(0.04, 400, warm_epochs=10, span="open"),
    "gpaco_lt_400_lr006": Cosine(0.06, 400, warm_epochs=10, span="open"),
    "gpaco_places_30": Cosine(0.02, 30, warm_epochs=5, span="open"),
    "gpaco_full_400": Cosine(0.08, 400, warm_epochs=10, span="open"),
    "gpaco_cifar_400": Steps(**PACO_CIFAR, warm_mode="official"),
    "proco_cifar_100": Steps(0.3, [80, 90], warm_epochs=2),
    "proco_cifar_200": Steps(0.3, [160, 180], warm_epochs=5),
    "proco_cifar_400": Steps(0.3, [360, 380], warm_epochs=10),
    "proco_imagenet_90": Cosine(0.1, 90, span="open"),
    "proco_imagenet_180": Cosine(0.1, 180, span="open"),
    "proco_inat_90": Cosine(0.2, 90, span="open"),
}


def test_every_published_schedule_is_there():
    assert sorted(PUBLISHED) == sorted(np.load(GOLDEN / "lr_schedules.npz").files)


@pytest.mark.parametrize("name", PUBLISHED)
def test_bcl_paco_and_proco_match_their_published_schedules(name):
    expected = np.load(GOLDEN / "lr_schedules.npz")[name]
    np.testing.assert_allclose(per_epoch(PUBLISHED[name], len(expected)), expected, rtol=1e-6)


def test_the_clean_warm_up_of_paco_ends_at_the_rate_itself():
    expected = np.load(GOLDEN / "lr_schedules.npz")["paco_cifar_400"].copy()
    expected[10] = 0.05
    np.testing.assert_allclose(per_epoch(Steps(**PACO_CIFAR), 400), expected, rtol=1e-6)
    assert per_epoch(Steps(0.1, [3], warm_mode="official"), 2) == [0.1, 0.1]  # no warm-up, nothing to prolong


@pytest.mark.parametrize(
    ("name", "milestones", "gamma"), [("sbcl_drw200", [140, 180], 0.1), ("official_ldam200", [160, 180], 0.01)]
)
def test_steps_match_ldam_drw(name, milestones, gamma):
    data = np.load(GOLDEN / "ldam_lr.npz")
    schedule = Steps(float(data[f"{name}_lr"]), milestones, gamma, warm_epochs=5)
    np.testing.assert_allclose(per_epoch(schedule, 200), data[f"{name}_lr_per_epoch"], rtol=1e-9)


def test_steps_match_sbcls_linear_classifier_on_imagenet():
    data = np.load(GOLDEN / "cb_lr.npz")
    milestones = data["sbcl_imagenet_linear_milestones"] - 1  # the authors' code compares with the epoch plus one
    rates = per_epoch(Steps(float(data["sbcl_imagenet_linear_lr"]), milestones.tolist()), 40)
    np.testing.assert_allclose(rates, data["sbcl_imagenet_linear_lr_per_epoch"], rtol=1e-9)


# epochs, end of the first part, epochs of the ramp, rate between the parts
GH = [("cifar", 1000, 500, 10, 0.3), ("large", 500, 400, 30, 0.1)]
GH_NAMES = ("name", "epochs", "switch", "ramp", "middle")


def test_the_settings_of_gh_are_the_published_ones():
    (_, *cifar, first), (_, *large, second) = GH
    published = np.load(GOLDEN / "gh_schedules.npz")["settings"]
    np.testing.assert_allclose(published, [*cifar, *large, first, first, second, second])


@pytest.mark.parametrize(GH_NAMES, GH)
def test_gh_matches_its_published_schedules(name, epochs, switch, ramp, middle):
    data = np.load(GOLDEN / "gh_schedules.npz")
    tolerance = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(per_epoch(WarmupCosine(0.5, epochs), epochs), data[f"{name}_baseline"], **tolerance)
    two_stage = GHTwoStage(0.5, epochs, switch, middle / 0.5)
    np.testing.assert_allclose(per_epoch(two_stage, epochs), data[f"{name}_gh"], **tolerance)


@pytest.mark.parametrize(GH_NAMES, GH)
def test_gh_matches_its_published_weights_momenta_and_epochs_of_the_prior(name, epochs, switch, ramp, middle):
    data = np.load(GOLDEN / "gh_schedules.npz")
    large = {"memory_start": 10, "prior_floor": 100, "prior_lead": 1} if name == "large" else {}
    settings = {"warm_epochs": switch, "ramp_epochs": ramp, "target_dim": 2, **large}
    component = Harmonization(HarmonizationSettings(**settings), 1, 3)
    weights = [component.weight(epoch) for epoch in range(epochs)]
    np.testing.assert_allclose(weights, data[f"{name}_gh_weight"], rtol=1e-6)
    if name == "large":
        early = Harmonization(HarmonizationSettings(**settings, ramp_lead=1), 1, 3)
        weights = [early.weight(epoch) for epoch in range(epochs)]
        np.testing.assert_allclose(weights, data["large_gh_weight_sdclr_official"], rtol=1e-6)
    refreshed = [epoch + 1 for epoch in range(epochs) if component.renews_prior(epoch)]
    assert refreshed == data[f"{name}_prior_refresh_epochs"].tolist()
    momenta = [component.momentum(epoch) for epoch in range(epochs)]
    np.testing.assert_allclose(momenta, data[f"{name}_score_beta"], rtol=1e-6)


def test_a_warm_up_and_cosine_per_step_is_that_of_boosted_contrastive_learning():
    data = np.load(GOLDEN / "simclr_lr_per_iteration.npz")
    epochs, steps = int(data["epochs"]), int(data["iterations_per_epoch"])
    assert steps == -(-int(data["samples"]) // int(data["batch_size"]))
    schedule = WarmupCosine(float(data["base_lr"]), epochs, per="step")
    ends = [[schedule(epoch, step, steps) for step in (0, steps - 1)] for epoch in range(epochs)]
    np.testing.assert_allclose(ends, data["first_and_last_of_epoch"], rtol=1e-6, atol=1e-9)
    first = [schedule(epoch, step, steps) for epoch in range(12) for step in range(steps)]
    np.testing.assert_allclose(first, data["first_epochs"], rtol=1e-6)


def test_gh_in_two_parts_per_step_joins_at_the_switch():
    schedule = GHTwoStage(1.0, 30, switch_epoch=20, switch_share=0.5, warm_epochs=10, per="step")
    rates = [schedule(epoch, step, 4) for epoch in range(30) for step in range(4)]
    assert rates[4 * 10 - 1] == 1.0 and rates[4 * 20 - 1] == 0.5 and rates[-1] == pytest.approx(1e-6)
    assert all(later < earlier for earlier, later in zip(rates[39:], rates[40:], strict=False))


@pytest.mark.parametrize(GH_NAMES, GH)
@pytest.mark.parametrize("second", [0.05, 0.2, 0.45])
def test_gh_whose_second_part_begins_elsewhere_has_the_rates_of_both_formulas(
    name, epochs, switch, ramp, middle, second
):
    data = np.load(GOLDEN / "gh_schedules.npz")
    rates = per_epoch(GHTwoStage(0.5, epochs, switch, middle / 0.5, second_share=second / 0.5), epochs)
    np.testing.assert_allclose(rates[: switch - 1], data[f"{name}_gh"][: switch - 1], rtol=1e-6)
    # entry j is epoch e = j + 1; the published second part, stretched from its beginning at a to one at b
    lowest = 1e-6
    stretched = lowest + (data[f"{name}_gh"][switch - 1 :] - lowest) * (second - lowest) / (middle - lowest)
    np.testing.assert_allclose(rates[switch - 1 :], stretched, rtol=1e-5)
    assert rates[switch - 1] == pytest.approx(second)


@pytest.mark.parametrize(("epochs", "warm", "switch"), [(1, 1, 1), (2, 1, 1), (2, 1, 2), (3, 0, 0), (12, 2, 6)])
def test_gh_stays_between_its_ends_in_short_runs(epochs, warm, switch):
    rates = per_epoch(GHTwoStage(0.5, epochs, switch, warm_epochs=warm), epochs)
    assert all(1e-6 <= rate <= 0.5 for rate in rates)
    assert rates[-1] == pytest.approx(1e-6 if switch < epochs else 0.3)


def test_a_quirk_of_part_of_an_epoch_keeps_its_size():
    """Under a budget an epoch of the authors' is a part of one: neither start nor overshoot grow."""
    sbcl = SBCLCosine(0.5, 100, warm_epochs=1, warmup_mode="official", late_epochs=0.1)
    rates = [sbcl(epoch, step, 100) for epoch in range(2) for step in range(100)]
    assert rates[0] == pytest.approx(-0.039, abs=1e-4) and max(rates) <= 0.5
    assert rates[109] < rates[111] == rates[199]  # the cosine begins after 1.1 epochs
    assert SBCLCosine(0.5, 100, warm_epochs=1, warmup_mode="official")(0, 0, 100) < -0.4
    paco = Steps(0.05, [3], warm_epochs=1, warm_mode="official", late_epochs=0.1)
    assert per_epoch(paco, 4) == pytest.approx([0.05, 0.055, 0.05, 0.005])
    assert per_epoch(Steps(0.05, [1], warm_epochs=1, warm_mode="official"), 2) == pytest.approx([0.05, 0.005])


def test_early_milestones_and_cosines_have_the_rate_of_a_later_epoch():
    assert [Steps(0.1, [3], early_epochs=early)(2, 0, 10) for early in (0, 0.9, 1)] == [0.1, 0.1, pytest.approx(0.01)]
    plain, early = (Cosine(0.1, 10, lowest=0.01, early_epochs=early) for early in (0, 1))
    assert [early(epoch, 0, 10) for epoch in range(9)] == [plain(epoch, 0, 10) for epoch in range(1, 10)]
    assert (plain(0, 0, 10), early(9, 0, 10)) == (0.1, pytest.approx(0.01))
    assert Cosine(0.1, 10, span="open", early_epochs=5)(9, 0, 10) == 0  # it ends there


def test_equal_milestones_count_twice():
    assert per_epoch(Steps(1.0, [1, 1], gamma=0.5), 3) == [1.0, 0.25, 0.25]


def test_a_warm_up_may_fill_a_whole_cosine_run():
    assert per_epoch(Cosine(0.1, 1, warm_epochs=1, span="to_zero"), 1) == [0.1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SBCLCosine(0.0, 10), "lr is positive, not 0"),
        (lambda: SBCLCosine(0.5, 10, warm_epochs=10), "epochs is at least 1 and above warm_epochs=10, not 10"),
        (lambda: SBCLCosine(0.5, 0, warm_epochs=0), "epochs is at least 1"),
        (lambda: SBCLCosine(0.5, 20, decay_rate=0.0), "decay_rate is above 0"),
        (lambda: SBCLCosine(0.5, 20, warmup_mode="negative"), "clean or official, not 'negative'"),
        (lambda: Cosine(float("nan"), 10), "lr is positive, not nan"),
        (lambda: Cosine(0.1, 10, warm_epochs=-1), "warm_epochs is 0 or more, not -1"),
        (lambda: Cosine(0.1, 10, warm_epochs=11), "at least warm_epochs=11, not 10"),
        (lambda: Cosine(0.1, 0), "epochs is at least 1"),
        (lambda: Cosine(0.1, 10, span="half"), "from_peak, to_zero, open, not 'half'"),
        (lambda: WarmupCosine(0.5, 20, warm_epochs=20), "epochs is at least 1 and above warm_epochs=20, not 20"),
        (lambda: WarmupCosine(0.5, 20, lowest=1.0), "lowest is from 0 to lr=0.5, not 1"),
        (lambda: WarmupCosine(0.5, 20, per="batch"), "per is epoch or step, not 'batch'"),
        (lambda: GHTwoStage(0.5, 20, 5), "switch_epoch is from warm_epochs=10 to epochs=20, not 5"),
        (lambda: GHTwoStage(0.5, 20, 21), "switch_epoch is from warm_epochs=10 to epochs=20, not 21"),
        (lambda: GHTwoStage(0.5, 20, 15, switch_share=1.5), "switch_share is at most 1"),
        (lambda: GHTwoStage(0.5, 20, 15, second_share=1.5), "second_share is at most 1"),
        (lambda: Steps(-1, [3]), "lr is positive, not -1"),
        (lambda: Steps(0.1, [8, 3]), r"ascending order, not \[8, 3\]"),
        (lambda: Steps(0.1, [0]), "epochs from 1 on"),
        (lambda: Steps(0.1, [3], gamma=10), "gamma is above 0 and at most 1"),
        (lambda: Steps(0.1, [3], warm_epochs=-2), "warm_epochs is 0 or more"),
        (lambda: Steps(0.1, [3], warm_mode="late"), "clean or official, not 'late'"),
        (lambda: Steps(0.1, [3], warm_epochs=1, warm_mode="official", late_epochs=-1), "late_epochs is finite, 0"),
        (lambda: SBCLCosine(0.5, 20, warmup_mode="official", late_epochs=-0.1), "0 or more, not -0.1"),
        (lambda: Steps(0.1, [3], early_epochs=-1), "early_epochs is finite, 0 or more, not -1"),
        (lambda: Cosine(0.1, 3, early_epochs=float("inf")), "early_epochs is finite, 0 or more, not inf"),
        (lambda: Cosine(0.1, 3, lowest=0.2), "lowest is from 0 to lr=0.1, not 0.2"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_exponential_falls_by_one_factor_to_a_step_before_its_end():
    rates = per_epoch(Exponential(0.01, 500, 1e-6), 500)
    factor = (1e-6 / 1e-2) ** (1 / 500)
    expected = 0.01
    for rate in rates:  # the authors multiply the rate after every epoch
        assert rate == pytest.approx(expected, rel=1e-9)
        expected *= factor
    assert expected == pytest.approx(1e-6)
    assert per_epoch(Exponential(0.3, 1, 0.1), 1) == [0.3]
    assert per_epoch(Exponential(0.3, 3, 0.3), 3) == [0.3] * 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0, 5, 1e-6), "lr is positive"),
        ((0.1, 0, 1e-6), "epochs is at least 1"),
        ((0.1, 5, 0.0), "final_lr is above 0"),
        ((0.1, 5, 0.2), "final_lr is above 0 and at most lr=0.1, not 0.2"),
    ],
)
def test_exponential_refuses_what_it_cannot_be(values, message):
    with pytest.raises(ValueError, match=message):
        Exponential(*values)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ("ldam_cifar", ["method=ce", "dataset=cifar100_lt"]),
        ("ldam_cifar", ["method=ce_drw", "dataset=cifar10_lt"]),
        ("ldam_cifar", ["method=vs", "dataset=cifar10_lt"]),
        ("mislas_cifar_stage1", ["method=mislas", "dataset=cifar10_lt"]),
        ("mislas_imagenet_stage1", ["method=mislas", "dataset=imagenet_lt"]),
        ("glmc_cifar", ["method=glmc", "dataset=cifar100_lt"]),
        ("gcl_cifar_stage1", ["method=gcl", "dataset=cifar10_lt"]),
        ("gcl_cifar_stage2", ["method=gcl", "dataset=cifar10_lt"]),
        ("gcl_places_stage1", ["method=gcl", "dataset=places_lt"]),
        ("gcl_places_stage2", ["method=gcl", "dataset=places_lt"]),
    ],
)
def test_rates_of_baselines_are_the_authors(stored, words):
    config = validate(compose(words))
    of, key = (config.stage_two.train, "stage_two.train") if stored.endswith("stage2") else (config.train, "train")
    schedule = build(of.schedule, f"{key}.schedule")
    rates = [schedule(epoch, 0, 10) for epoch in range(of.epochs)]
    np.testing.assert_allclose(rates, np.load(GOLDEN / "mixing_lr.npz")[stored], rtol=1e-6)
