"""NCL++: copies pass together, and what is compared are the copies of an image and the networks."""

import pytest
import torch
from helpers.chain import of_method
from helpers.engine_parts import FixedBatches, one_process

from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.ncl import NCLPlusLoss
from lt_bench.methods.experts import Experts
from lt_bench.methods.mixing import MixUp, Remix
from lt_bench.methods.ncl_plus import NCLPlus
from lt_bench.models.tiny import TinyEncoder
from lt_bench.preflight.validate import validate

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([9, 3, 2]))
IMAGES = torch.randn(3, 14, 3, 8, 8, generator=torch.Generator().manual_seed(1))
BATCH = Batch(IMAGES.unbind(), LABELS, torch.arange(14))
RUN = one_process(FixedBatches([BATCH]))


def built(**values):
    torch.manual_seed(0)
    views = ["crop_flip"] * 3
    return NCLPlus(TinyEncoder(), TrainInfo(LABELS, 3, 10), experts=Experts(2, 0), views=views, **values).train()


def test_the_loss_is_that_of_all_copies_in_one_pass():
    method = built()
    logits = method.classifier.expert_logits(method.encoder(IMAGES.flatten(0, 1))).unflatten(0, (3, 14))
    found = method(BATCH, 0, 0, RUN)
    expected = NCLPlusLoss(torch.bincount(LABELS), 2)(logits.transpose(0, 1), LABELS)
    torch.testing.assert_close(found["loss"], expected)
    predicted = logits.mean(dim=(0, 2)).argmax(1)
    torch.testing.assert_close(found["accuracy"], (predicted == LABELS).float().mean())


@pytest.mark.parametrize("mixing", [MixUp(), Remix(kappa=1.0)])
def test_takes_a_mixing(mixing):
    method = built(mixing=mixing)
    batch = method.mixed(BATCH, 0, 0, RUN)
    assert bool(method(batch, 0, 0, RUN)["loss"].isfinite()) and len(batch.views) == 3


def test_has_the_authors_networks_and_copies():
    config = validate(compose(["method=ncl_plus", "dataset=cifar100_lt", "fidelity=official"]))
    assert of_method(config, "views", "hard_fill") == [["autoaugment_cutout"] * 4, "zero"]
    assert (config.method["experts"]["count"], config.method["experts"]["shared_stages"]) == (2, 0)


def test_one_view_has_no_copies():
    with pytest.raises(SettingError, match="views is a list of two views or more"):
        NCLPlus(TinyEncoder(), TrainInfo(LABELS, 3, 10), experts=Experts(2, 0), views=["crop_flip"])
