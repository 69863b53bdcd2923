"""What of a network's experts a run evaluates: their mean, one of them, or weights learnt on the test images."""

import numpy as np
import pytest
import torch
from helpers.chain import tiny
from helpers.configs import refusal, settled

from lt_bench.data.load import load_data
from lt_bench.evaluation.experts import weighted
from lt_bench.evaluation.metrics import evaluate
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.export.card import _limits
from lt_bench.predict.predictor import load
from lt_bench.record.identity import identities
from lt_bench.record.verify import contradiction
from lt_bench.report.frame import frame
from lt_bench.report.sections import sections
from lt_bench.run.execute import execute
from lt_bench.run.experts import learning

WORDS = ("method=sade", "dataset=digits_lt", "dataset.validation_per_class=2", "train.epochs=1", "device=cpu")
WORDS = (*WORDS, "train.schedule.milestones=[1]", "train.schedule.warm_epochs=0")
ADAPTED = "evaluation.experts=aggregated"
STRONG = (ADAPTED, "evaluation.aggregation.lr=5.0", "evaluation.aggregation.pairs=2", "evaluation.aggregation.epochs=3")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Record, folder and predictions of the runs on one stage one, by what is evaluated."""
    folder, found = tmp_path_factory.mktemp("experts"), {}
    for name, words in {"mean": (), "expert1": ("evaluation.experts=expert1",), "aggregated": STRONG}.items():
        record, place = execute(tiny(folder, *WORDS, *words))
        found[name] = record, place, load_predictions(place / "predictions.npz")
    return found


def test_what_is_evaluated_is_another_run_on_the_same_stage_one(runs):
    assert len({record.run_id for record, *_ in runs.values()}) == 3
    assert len({record.stage_one_id for record, *_ in runs.values()}) == 1
    assert "evaluation.experts" not in runs["mean"][0].settings
    assert runs["expert1"][0].settings["evaluation.experts"] == "expert1"
    plain = runs["mean"][2].logits_by_name
    assert list(plain) == ["logits", "expert0", "expert1", "expert2"]
    for name in ("expert1", "aggregated"):
        sets = runs[name][2].logits_by_name
        assert list(sets) == [*plain, "mean"]
        np.testing.assert_array_equal(sets["mean"], plain["logits"])
        np.testing.assert_array_equal(sets["expert2"], plain["expert2"])
    np.testing.assert_allclose(runs["expert1"][2].logits, plain["expert1"], rtol=1e-6)


def test_an_adapted_run_says_so_and_stands_in_a_table_of_its_own(runs):
    record, folder, made = runs["aggregated"]
    assert record.environment["adapted_on_test_images"] is True
    assert "adapted_on_test_images" not in runs["expert1"][0].environment
    weights = made.expert_weights
    assert record.environment["expert_weights"]["uniform"] == pytest.approx(weights["uniform"], abs=1e-6)
    assert {"uniform", "forward10", "backward2"} <= set(weights) and np.ptp(weights["uniform"]) > 0.01
    np.testing.assert_allclose(made.logits, weighted(made, weights["uniform"]).logits, rtol=1e-4, atol=1e-5)
    assert made.validation is not None
    held_out = weighted(made.validation, weights["uniform"]).logits
    np.testing.assert_allclose(made.validation.logits, held_out, rtol=1e-4, atol=1e-5)
    assert contradiction(record, folder, anew=True) is None
    shifted = evaluate(made, {"backward2"})["backward2"]
    assert shifted == evaluate(weighted(made, weights["backward2"]), {"backward2"})["backward2"]
    assert len({part.name for part in sections(frame(one for one, *_ in runs.values()))}) == 3


def test_a_predictor_predicts_what_was_evaluated(runs):
    data = load_data(tiny(runs["mean"][1].parent, *WORDS), torch.device("cpu"))
    positions, none = torch.arange(len(data.test.labels)), torch.Generator()
    images = torch.cat([*data.test.chunks("plain", positions, slice(None), 500, none)])
    for name, (record, folder, made) in runs.items():
        predictor = load(folder)
        np.testing.assert_allclose(predictor.logits(images).numpy(), made.logits, rtol=1e-4, atol=1e-5)
        said = [line for line in _limits(record, predictor) if "learnt on the images that the numbers are of" in line]
        assert len(said) == (name == "aggregated")


def test_weights_are_learnt_as_the_classifiers_were():
    words = ("method=sade", "dataset=places_lt", "stage_two=none", ADAPTED, "dataset.root=/nowhere")
    found = learning(settled(*words))
    assert (found.lr, found.weight_decay, found.epochs, found.batch_size) == (0.01, 4e-4, 5, 128)
    typed = settled(*words, "evaluation.aggregation.lr=0.3", "evaluation.aggregation.weight_decay=0")
    assert learning(typed)[:2] == (0.3, 0.0)


def test_usual_values_change_no_identity():
    words, usual = WORDS[:2], ("evaluation.experts=mean", "evaluation.aggregation.epochs=5")
    assert identities(settled(*words)) == identities(settled(*words, *usual))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("method=sade", "evaluation.experts=expert3"),
            "experts= takes mean, expert0, expert1, expert2, aggregated",
        ),
        (("method=ce", ADAPTED), "is for experts and method=ce trains none; set evaluation.experts=mean"),
        (
            ("method=sade", "stage_two=cb", ADAPTED),
            "stage_two=cb; set evaluation.experts=mean, or stage_two=none",
        ),
        (("method=sade", "evaluation.aggregation.lr=1"), "learnt; set evaluation.experts=aggregated"),
        (("method=sade", ADAPTED, "evaluation.aggregation.view=boosted"), "evaluation.aggregation.view= takes plain"),
        (("method=sade", ADAPTED, "evaluation.aggregation.lr=0"), "takes numbers above 0"),
        (("method=sade", ADAPTED, "evaluation.aggregation.pear=2"), "pear"),
    ],
)
def test_what_cannot_be_is_refused(words, said):
    assert said in refusal(*words, "dataset=digits_lt")
