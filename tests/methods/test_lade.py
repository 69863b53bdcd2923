"""LADE: the authors' trace, and Balanced Softmax without its term."""

import pytest
import torch
from helpers.engine_parts import Vectors, one_process
from helpers.mixing_steps import follow

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.logit_adjustment import log_prior
from lt_bench.methods.balanced_softmax import BalancedSoftmax
from lt_bench.methods.lade import LADE
from lt_bench.preflight.validate import validate

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 6, 2]))
BATCH = Batch((torch.randn(28, 6, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(28))


def built(kind=LADE, **settings):
    torch.manual_seed(0)
    return kind(Vectors(), TrainInfo(LABELS, 3, 10), **settings)


def test_trains_as_the_authors_code_does(tmp_path):
    options = {"alpha": 0.1, "regularisation": 0.01, "official_epsilon": True}
    exact = {"buffers": lambda counts: {"log_prior": log_prior(counts)}}
    follow("mixing_step_lade", LADE, tmp_path, epochs=[0, 120, 160, 199], **exact, **options)


def test_without_its_term_it_is_balanced_softmax_bit_for_bit():
    run = one_process(None)
    losses = [method(BATCH, 0, 0, run)["loss"] for method in (built(alpha=0.0), built(BalancedSoftmax))]
    assert torch.equal(*losses)


def test_official_has_the_authors_epsilon():
    values = [validate(compose(["method=lade", f"fidelity={name}"])).method for name in ("clean", "official")]
    assert [value.get("official_epsilon", False) for value in values] == [False, True]


@pytest.mark.parametrize("name", ["alpha", "regularisation"])
@pytest.mark.parametrize("value", [-0.1, float("inf")])
def test_refuses_values_that_are_no_strength(name, value):
    with pytest.raises(SettingError, match=name):
        built(**{name: value})
