"""Experts as a component: every expert is trained as if alone, by any loss and with any mixing; names and refusals."""

import numpy as np
import pytest
import torch
from helpers.chain import tiny
from helpers.configs import refusal, settled
from helpers.engine_parts import FixedBatches, one_process

from lt_bench.config.recipes import bare
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.methods.ce import CE
from lt_bench.methods.experts import Experts
from lt_bench.methods.ldam_drw import LDAMDRW
from lt_bench.methods.mixing import MixUp, Remix
from lt_bench.models.resnet_cifar import resnet8_cifar
from lt_bench.run.execute import execute

LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor([9, 3, 2]))
BATCH = Batch((torch.randn(14, 3, 8, 8, generator=torch.Generator().manual_seed(1)),), LABELS, torch.arange(14))
RUN = one_process(FixedBatches([BATCH]))
INFO = TrainInfo(LABELS, 3, 10)
WHOLE = Experts(2, shared_stages=0, copied=True)


def trained(kind, experts, mixing=None, **values):
    """A method in double precision after a backward pass, and its terms; its classifiers are alike."""
    torch.manual_seed(0)
    method = kind(resnet8_cifar(), INFO, experts=experts, mixing=mixing, **values).double().train()
    if experts is not None:
        for head in method.classifier.heads[1:]:
            head.load_state_dict(method.classifier.heads[0].state_dict())
    batch = method.mixed(BATCH._replace(views=(BATCH.views[0].double(),)), 0, 0, RUN)
    terms = method(batch, 0, 0, RUN)
    terms["loss"].backward()
    return method, terms


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (CE, {}),
        (CE, {"mixing": MixUp()}),
        (CE, {"mixing": Remix(kappa=1.0)}),
        (LDAMDRW, {"drw_start_epoch": 0}),
        (LDAMDRW, {"drw_start_epoch": 0, "mixing": MixUp()}),
    ],
)
def test_whole_networks_are_trained_as_if_each_were_alone(kind, values):
    (alone, terms), (both, found) = (trained(kind, experts, **values) for experts in (None, WHOLE))
    torch.testing.assert_close(found["loss"], 2 * terms["loss"])
    torch.testing.assert_close(found["accuracy"], terms["accuracy"])
    for tail, head in zip(both.encoder.tails, both.classifier.heads, strict=True):
        expected = [*alone.encoder.parameters(), *alone.classifier.parameters()]
        for own, one in zip(expected, [*tail.parameters(), *head.parameters()], strict=True):
            torch.testing.assert_close(one.grad, own.grad)


def test_the_prediction_is_the_mean_of_logits():
    method, _ = trained(CE, Experts(3))
    features = method.encoder(BATCH.views[0].double())
    each = method.classifier.expert_logits(features)
    assert each.shape == (14, 3, 3) and not torch.equal(each[:, 0], each[:, 1])
    torch.testing.assert_close(method.classifier(features), each.mean(1))


def test_a_name_says_which_components_a_method_has():
    method = settled("method=ce", "experts=split", "mixing=mixup", "dataset=digits_lt").method
    assert (method["name"], method["title"], bare(method)) == ("ce_mixup_split", "CE + MixUp + Experts", "ce")
    assert method["experts"] == {"_target_": "lt_bench.methods.experts.Experts", "count": 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("method=sbcl", "experts=split"), "method=sbcl takes no experts"),
        (("method=bcl", "mixing=cmo"), ", lift, lift_plus, logit_adjustment, mislas, ncl, ncl_moco, ncl_plus, "),
        (("method=ce", "experts=split", "stage_two=tau_norm"), "needs a linear classifier"),
        (("method=ldam_drw", "experts=split", "stage_two=gcl"), "needs a normalised classifier"),
        (("method=ride", "method.experts.count=1", "stage_two=router"), "stage_two=none, or method.experts.count=3"),
        (("method=ce", "experts=split", "method.experts.cout=2"), "unknown key method.experts.cout"),
    ],
)
def test_what_cannot_go_together_is_refused(words, said):
    assert said in refusal(*words, "dataset=digits_lt")


def test_a_run_stores_the_logits_of_every_expert_beside_their_mean(tmp_path):
    words = ("method=ce", "experts=split", "dataset=digits_lt", "dataset.validation_per_class=2", "train.epochs=1")
    words = (*words, "train.schedule.milestones=[1]", "train.schedule.warm_epochs=0")
    record, folder = execute(tiny(tmp_path, *words))
    found = load_predictions(folder / "predictions.npz")
    for made in (found, found.validation):
        assert {*made.logits_by_name} == {"logits", "expert0", "expert1", "expert2"}
        each = np.stack([made.logits_by_name[f"expert{number}"] for number in range(3)])
        np.testing.assert_allclose(each.mean(0), made.logits, rtol=1e-5, atol=1e-6)
    assert record.settings["method.experts._target_"] == "lt_bench.methods.experts.Experts"
