"""Stage one of MiSLAS: cross-entropy with mixup; its trace is in tests/methods/test_mixing.py."""

import itertools

from lt_bench.config.compose import compose

STAGE_TWO = ("smooth_head", "smooth_tail", "lr_factor", "shift_bn")


def config(*words):
    return compose(["method=mislas", *words])


def test_is_cross_entropy_with_mixup_and_rates_that_fall_less():
    own, plain = config("dataset=cifar100_lt"), compose(["method=ce", "mixing=mixup", "dataset=cifar100_lt"])
    assert own.method._target_ == plain.method._target_ and own.method.mixing == plain.method.mixing
    assert (own.stage_two.name, own.train.schedule.gamma, plain.train.schedule.gamma) == ("mislas", 0.1, 0.01)
    plain.train.schedule.gamma = 0.1
    assert own.train == plain.train


def test_each_imbalance_has_the_authors_values():
    table = {}
    for data, factor in itertools.product(("cifar10", "cifar100"), (100, 50, 10)):
        rule = config(f"dataset={data}_lt", f"imbalance=if{factor}").stage_two
        table[data, factor] = tuple(rule[name] for name in STAGE_TWO)
    assert table == {
        ("cifar10", 100): (0.3, 0.0, 0.5, False),
        ("cifar10", 50): (0.2, 0.0, 0.2, False),
        ("cifar10", 10): (0.1, 0.0, 0.2, False),
        ("cifar100", 100): (0.4, 0.1, 0.2, True),
        ("cifar100", 50): (0.3, 0.0, 0.1, True),
        ("cifar100", 10): (0.2, 0.0, 0.1, True),
    }


def test_large_images_have_another_mixing_and_another_stage_two():
    table = {"imagenet_lt": (5e-4, 0.3, 0.0), "inat18": (1e-4, 0.3, 0.0), "places_lt": (5e-4, 0.4, 0.1)}
    for data, (decay, *smoothing) in table.items():
        found = config(f"dataset={data}")
        rule = found.stage_two
        assert (found.method.mixing.alpha, found.method.views) == (0.2, ["jitter"])
        assert tuple(rule[name] for name in STAGE_TWO) == (*smoothing, 0.05, True)
        assert (rule.train.epochs, rule.train.batch_size, rule.train.optimizer.weight_decay) == (10, 256, decay)
