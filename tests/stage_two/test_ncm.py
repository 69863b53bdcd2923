"""NCM: the authors' distances in three variants, a slow reference, several processes, classes without images."""

import numpy as np
import pytest
import torch
from helpers.engine_parts import FixedBatches, Vectors, one_process
from helpers.golden_vectors import SINGLE, golden
from helpers.two_processes import on_two

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.errors import DataError
from lt_bench.stage_two.ncm import NearestClassMean, NearestMean

VARIANTS = {"raw": "un", "l2": "l2n", "centered_l2": "cl2n"}
LABELS = torch.tensor([0, 0, 0, 0, 0, 2, 1, 1, 2, 0, 1])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["a", "b"])
def test_distances_are_the_authors(name, variant):
    case = golden("cb_ncm", name)
    expected = case[f"neg_sqdist_{VARIANTS[variant]}"]
    classifier = NearestMean.of(case["train_features"], case["train_labels"], expected.shape[1], variant)
    torch.testing.assert_close(classifier(case["test_features"]), expected, **SINGLE)


def slow(train, labels, test, classes, variant):
    center = train.mean(0) if variant == "centered_l2" else 0.0

    def placed(row):
        return row if variant == "raw" else (row - center) / np.linalg.norm(row - center)

    means = [
        np.mean([placed(row) for row, own in zip(train, labels, strict=True) if own == c], 0) for c in range(classes)
    ]
    return np.array([[-np.sum((placed(row) - mean) ** 2) for mean in means] for row in test])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("classes", [2, 7, 60])
def test_long_features_close_together_lose_no_digits(variant, classes):
    generator = torch.Generator().manual_seed(classes)
    labels = torch.cat([torch.arange(classes), torch.zeros(40, dtype=torch.long)])
    train = 100 + torch.randn(len(labels), 16, generator=generator)
    test = 100 + torch.randn(50, 16, generator=generator)
    expected = slow(train.double().numpy(), labels.tolist(), test.double().numpy(), classes, variant)
    found = NearestMean.of(train, labels, classes, variant)(test)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_the_first_two_variants_with_one_image_per_class_find_it_again():
    features, labels = torch.randn(6, 8), torch.randperm(6)
    for variant in ("raw", "l2"):
        scores = NearestMean.of(features, labels, 6, variant)(features)
        assert torch.equal(scores.argmax(1), labels) and (scores <= 0).all()
        torch.testing.assert_close(scores.max(1).values, torch.zeros(6))


def test_means_of_unit_vectors_are_not_normalised_again():
    classifier = NearestMean.of(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]), 1, "l2")
    torch.testing.assert_close(classifier.means, torch.tensor([[0.5, 0.5]]))


def test_a_feature_of_zeros_has_finite_scores():
    features = torch.cat([torch.zeros(1, 8), torch.randn(5, 8)])
    assert torch.isfinite(NearestMean.of(features, torch.arange(6) % 3, 3, "l2")(features)).all()


class Steady(FixedBatches):
    """Eleven vectors, which two processes cannot share equally."""

    def __init__(self):
        vectors = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))
        super().__init__([Batch((vectors,), LABELS, torch.arange(11))])


def finished(run, variant="centered_l2"):
    torch.manual_seed(0)
    rule = NearestClassMean(variant)
    method = rule.build(Vectors(), None, TrainInfo(LABELS, 3, 1))
    run.module = method
    return rule.finish(method, run), method


@pytest.mark.parametrize("variant", VARIANTS)
def test_finish_takes_the_features_of_the_train_split(variant):
    source = Steady()
    classifier, method = finished(one_process(source), variant)
    features = method.encoder(source.prepared[0].views[0]).detach()
    expected = NearestMean.of(features, LABELS, 3, variant)
    torch.testing.assert_close(classifier.means, expected.means)
    torch.testing.assert_close(classifier.center, expected.center)
    assert method.state_dict().keys() == {f"encoder.{name}" for name in method.encoder.state_dict()}


def means(processes, folder):
    classifier, _ = finished(EngineContext(processes, 0, Steady()))
    return classifier.state_dict()


@pytest.mark.slow
def test_two_processes_have_the_means_of_one():
    alone, _ = finished(one_process(Steady()))
    for found in on_two(means):
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(found[name], value)


def test_classes_without_images_are_refused():
    with pytest.raises(DataError, match=r"2 of 5 classes \(class 3, 4\) .* cut a shorter tail"):
        NearestClassMean().build(Vectors(), None, TrainInfo(LABELS, 5, 1))
    with pytest.raises(DataError, match=r"17 of 20 classes \(class 3, 4, 5, 6, 7, \.\.\.\)"):
        NearestClassMean().build(Vectors(), None, TrainInfo(LABELS, 20, 1))
