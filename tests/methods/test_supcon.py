"""SupCon: both views in one forward pass, and the loss of the joined batch."""

import pytest
import torch
from helpers.engine_parts import FixedBatches, Vectors, one_process

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.errors import SettingError
from lt_bench.losses.supcon import supcon
from lt_bench.methods.supcon import SupCon

LABELS = torch.tensor([0, 0, 1, 2])


def built(**settings):
    torch.manual_seed(0)
    return SupCon(Vectors(), TrainInfo(LABELS, 3, 1), projection_dim=5, **settings)


def test_the_loss_is_supcon_of_unit_embeddings_of_two_views():
    method, views = built(temperature=0.2), tuple(torch.randn(4, 6) for _ in range(2))
    batch = Batch(views, LABELS, torch.arange(4))
    embeddings = torch.stack([method.head(method.encoder(view)) for view in views], dim=1)
    torch.testing.assert_close(embeddings.norm(dim=2), torch.ones(4, 2))
    loss = method(batch, 0, 0, one_process(FixedBatches([batch])))["loss"]
    torch.testing.assert_close(loss, supcon(embeddings, LABELS, 0.2, 0.1))


def test_all_views_share_one_forward_pass():
    method, sizes = built(), []
    method.encoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    method.embed_views(Batch((torch.randn(4, 6), torch.randn(4, 6)), LABELS, torch.arange(4)))
    assert sizes == [8]


def test_the_head_is_as_wide_as_the_features_unless_told():
    assert built().head.layers[0].out_features == 8
    assert built(projection_hidden=3).head.layers[0].out_features == 3


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"base_temperature": -1.0}])
def test_temperatures_must_be_positive(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))} is above 0"):
        built(**settings)
