"""k-NN: the votes written as loops, blocks of the bank, several processes, a whole run, exported programs."""

import math

import numpy as np
import pytest
import torch
from benchmarks.harness import HostReads
from helpers.chain import execute, tiny
from helpers.engine_parts import FixedBatches, Vectors, one_process
from helpers.two_processes import on_two

import lt_bench
from lt_bench.config.compose import compose
from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine.context import EngineContext
from lt_bench.errors import SettingError
from lt_bench.evaluation.predictions import load_predictions
from lt_bench.export import programs
from lt_bench.models.whole import Whole
from lt_bench.preflight.validate import validate
from lt_bench.stage_two import knn
from lt_bench.stage_two.knn import NearestNeighbourProbe, NearestNeighbours

CLASSES = 5


def example(images=40, width=6, seed=0):
    """Features and labels of a bank whose last class is absent, and features to classify."""
    generator = torch.Generator().manual_seed(seed)
    bank, asked = (torch.randn(count, width, generator=generator, dtype=torch.float64) for count in (images, 7))
    return bank, torch.randint(CLASSES - 1, (images,), generator=generator), asked


def shares(bank, labels, asked, neighbours, temperature):
    """Every class's share of the votes, one image and one neighbour at a time."""
    found = np.zeros((len(asked), CLASSES))
    for row, feature in enumerate(asked.numpy()):
        cosines = [float(feature @ one / np.linalg.norm(feature) / np.linalg.norm(one)) for one in bank.numpy()]
        nearest = sorted(range(len(bank)), key=lambda place: -cosines[place])[:neighbours]
        for place in nearest:
            found[row, labels[place]] += math.exp(cosines[place] / temperature)
    return torch.from_numpy(found / found.sum(1, keepdims=True))


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (9, 0.07), (40, 0.5), (200, 0.1)])
@pytest.mark.parametrize("block", [3, 16, 65_536])
def test_the_softmax_of_the_logits_are_the_shares_of_the_votes(neighbours, temperature, block, monkeypatch):
    monkeypatch.setattr(knn, "BLOCK", block)
    bank, labels, asked = example()
    classifier = NearestNeighbours.of(bank, labels, CLASSES, neighbours=neighbours, temperature=temperature)
    logits = classifier(asked)
    torch.testing.assert_close(logits.softmax(1), shares(bank, labels, asked, neighbours, temperature))
    assert torch.isfinite(logits).all()


def test_one_neighbour_finds_the_images_of_the_bank_again_and_lengths_do_not_matter():
    bank, labels, asked = example()
    classifier = NearestNeighbours.of(bank, labels, CLASSES, neighbours=1)
    assert torch.equal(classifier(3 * bank).argmax(1), labels)
    scaled = NearestNeighbours.of(bank * torch.rand(40, 1), labels, CLASSES)
    torch.testing.assert_close(scaled(0.1 * asked), NearestNeighbours.of(bank, labels, CLASSES)(asked))


def test_order_of_the_bank_and_size_of_a_batch_change_nothing():
    bank, labels, asked = example()
    order = torch.randperm(40)
    classifier = NearestNeighbours.of(bank, labels, CLASSES, neighbours=9)
    other = NearestNeighbours.of(bank[order], labels[order], CLASSES, neighbours=9)
    torch.testing.assert_close(classifier(asked), other(asked))
    torch.testing.assert_close(torch.cat([classifier(row) for row in asked.split(2)]), classifier(asked))


@pytest.mark.parametrize("temperature", [1e-4, 1e4])
def test_logits_are_finite_at_any_temperature_under_autocast_and_without_host_reads(temperature):
    bank, labels, asked = example()
    classifier = NearestNeighbours.of(bank.float(), labels, CLASSES, neighbours=9, temperature=temperature)
    with torch.autocast("cpu", dtype=torch.bfloat16), HostReads() as reads:
        logits = classifier(torch.cat([asked.float(), torch.zeros(1, 6)]).bfloat16())
    assert reads.found == [] and logits.dtype == torch.float32 and torch.isfinite(logits).all()


class Steady(FixedBatches):
    """Eleven vectors, which two processes cannot share equally."""

    labels = torch.tensor([0, 0, 0, 0, 0, 2, 1, 1, 2, 0, 1])

    def __init__(self):
        vectors = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))
        super().__init__([Batch((vectors,), self.labels, torch.arange(11))])


def finished(run):
    torch.manual_seed(0)
    rule = NearestNeighbourProbe(neighbours=3)
    run.module = rule.build(Vectors(), None, TrainInfo(Steady.labels, 3, 1))
    return rule.finish(run.module, run)


def test_the_bank_are_the_features_of_the_images_with_their_labels():
    source = Steady()
    classifier = finished(one_process(source))
    torch.manual_seed(0)
    features = Vectors()(source.prepared[0].views[0]).detach()
    torch.testing.assert_close(classifier.bank, torch.nn.functional.normalize(features, dim=1))
    assert torch.equal(classifier.labels, Steady.labels)


def bank(processes, folder):
    return finished(EngineContext(processes, 0, Steady())).state_dict()


@pytest.mark.slow
def test_two_processes_have_the_bank_of_one():
    alone = finished(one_process(Steady())).state_dict()
    for found in on_two(bank):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value)


def test_a_run_without_labels_is_probed_and_predicts_as_it_was_evaluated(tmp_path):
    words = ("method=simclr", "stage_two=knn", "stage_two.neighbours=20", "threads=1")
    record, folder = execute(tiny(tmp_path, *words))
    assert record.is_probe and record.stage_two == "knn"
    classifier = lt_bench.load(folder).classifier
    assert isinstance(classifier, NearestNeighbours) and classifier.neighbours == 20
    assert len(classifier.bank) > sum(load_predictions(folder / "predictions.npz").train_counts)  # the balanced split


@pytest.mark.slow
@pytest.mark.parametrize("form", ["exported", "torchscript"])
def test_a_program_takes_any_number_of_images(form, tmp_path):
    bank, labels, _ = example(width=8)
    encoder = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 8))
    network = Whole(encoder, NearestNeighbours.of(bank.float(), labels, CLASSES, neighbours=9)).eval()
    assert programs.write(form, network, 8, tmp_path) <= programs.TOLERANCE


def test_it_needs_no_classifier_and_its_split_is_a_choice():
    config = validate(compose(["method=simclr", "stage_two=knn", "stage_two.train_split=train"]))
    assert (config.stage_two.title, config.stage_two.train) == ("k-NN", None)
    assert config.stage_two.options == {"neighbours": 200, "temperature": 0.07, "train_split": "train"}


@pytest.mark.parametrize("values", [{"neighbours": 0}, {"temperature": 0.0}, {"temperature": math.inf}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(SettingError, match=next(iter(values))):
        NearestNeighbourProbe(**values)
