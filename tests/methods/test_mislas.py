"""Stage one of MiSLAS: cross-entropy with mixup; its trace is in tests/methods/test_mixing.py."""

import itertools

from lt_bench.config.compose import compose
from lt_bench.preflight.validate import validate

CIFAR = "dataset=cifar100_lt"


def config(*words):
    return validate(compose(["method=mislas", *words]))


def test_is_cross_entropy_with_mixup_and_rates_that_fall_less():
    own, plain = config(CIFAR), validate(compose(["method=ce", "mixing=mixup", CIFAR]))
    assert own.method["_target_"] == plain.method["_target_"] and own.method["mixing"] == plain.method["mixing"]
    assert (own.stage_two.name, own.train.schedule.pop("gamma"), plain.train.schedule.pop("gamma")) == (
        "mislas",
        0.1,
        0.01,
    )
    assert own.train == plain.train


def test_each_imbalance_has_the_authors_values():
    names, table = ("smooth_head", "smooth_tail", "lr_factor", "shift_bn"), {}
    for data, factor in itertools.product(("cifar10", "cifar100"), (100, 50, 10)):
        rule = compose(["method=mislas", f"dataset={data}_lt", f"imbalance=if{factor}"]).stage_two
        table[data, factor] = tuple(rule[name] for name in names)
    assert table == {
        ("cifar10", 100): (0.3, 0.0, 0.5, False),
        ("cifar10", 50): (0.2, 0.0, 0.2, False),
        ("cifar10", 10): (0.1, 0.0, 0.2, False),
        ("cifar100", 100): (0.4, 0.1, 0.2, True),
        ("cifar100", 50): (0.3, 0.0, 0.1, True),
        ("cifar100", 10): (0.2, 0.0, 0.1, True),
    }


def test_large_images_have_another_mixing_and_another_stage_two():
    for data, decay, head, tail in (
        ("imagenet_lt", 5e-4, 0.3, 0),
        ("inat18", 1e-4, 0.3, 0),
        ("places_lt", 5e-4, 0.4, 0.1),
    ):
        found = config(f"dataset={data}")
        rule, values = found.stage_two, found.stage_two.options
        assert (found.method["mixing"]["alpha"], found.method["views"]) == (0.2, ["jitter"])
        assert (values["smooth_head"], values["smooth_tail"], values["lr_factor"]) == (head, tail, 0.05)
        assert rule.train is not None and rule.train.optimizer["weight_decay"] == decay
        assert (rule.train.batch_size, rule.train.epochs, values["shift_bn"]) == (256, 10, True)


def test_values_for_its_own_stage_two_are_no_other_rules():
    """Of recipes, what they say of a rule is for the rule that they name."""
    for rule in ("cb", "none"):
        words = ("dataset=imagenet_lt", f"stage_two={rule}")
        assert config(*words).stage_two == validate(compose(["method=ce", *words])).stage_two
