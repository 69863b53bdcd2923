"""Training that ends early: after so many epochs without a better score, exact after any kill, and on record."""

import pytest
from helpers.chain import assert_identical, killed_until_done, results, tiny
from helpers.configs import refusal

from lt_bench.engine import predict
from lt_bench.record.curves import CURVES, read_curves
from lt_bench.record.record import RunRecord
from lt_bench.run.execute import execute
from lt_bench.run.summary import summary
from lt_bench.run.tasks import TASKS

WORDS = (
    "method=ce",
    "dataset.validation_per_class=5",
    "evaluation.select=best_validation",
    "checkpoint.every_epochs=1",
)
SCORES = (0.2, 0.5, 0.4, 0.5, 0.3, 0.9, 0.1, 0.1)


@pytest.fixture
def scored(monkeypatch):
    """Scores by epoch instead of measured ones; the epoch is known from how far the method's buffers are."""

    class Scores:
        def __init__(self, method, images, num_classes, batch_size):
            self.method = method

        def __call__(self):
            return SCORES[self.method.epoch_for_test]

    monkeypatch.setitem(TASKS, "classification", TASKS["classification"]._replace(scorer=Scores))
    from lt_bench.engine.loop import Trainer

    train = Trainer._epoch

    def epoch(self, *arguments):
        self.method.epoch_for_test = self.state.epoch
        return train(self, *arguments)

    monkeypatch.setattr(Trainer, "_epoch", epoch)
    return predict


@pytest.mark.parametrize(("patience", "ended", "best"), [(2, 4, 1), (1, 3, 1), (4, 8, 5), (None, 8, 5)])
def test_it_ends_after_so_many_epochs_without_a_better_score(patience, ended, best, scored, tmp_path):
    word = f"train.patience={'null' if patience is None else patience}"
    record, folder = execute(tiny(tmp_path, *WORDS, "train.epochs=8", word))
    chosen = record.epochs["chosen"]["train"]
    below = folder.with_name(record.stage_one_id)
    assert len(read_curves(below / CURVES)) == ended
    assert chosen["epoch"] == best and chosen.get("stopped_after") == (ended if ended < 8 else None)
    assert (", stopped after" in summary(record, folder)) == (ended < 8)
    assert RunRecord.from_dict(record.to_dict()) == record
    assert execute(tiny(tmp_path, *WORDS, "train.epochs=8", word))[0].epochs == record.epochs


def test_rates_are_those_of_the_whole_run_until_it_ends(scored, tmp_path):
    rates = []
    for word in ("train.patience=2", "train.patience=null"):
        record, folder = execute(tiny(tmp_path, *WORDS, "train.epochs=8", word))
        rates.append([row["lr"] for row in read_curves(folder.with_name(record.stage_one_id) / CURVES)])
    assert rates[0] == rates[1][:4]


@pytest.mark.parametrize("more", [("train.patience=2",), ("stage_two=cb", "stage_two.train.patience=2")])
def test_a_run_that_is_killed_after_any_steps_ends_where_it_would_have(more, scored, tmp_path, monkeypatch):
    words = (*WORDS, "train.epochs=8", *(("stage_two.train.epochs=8",) if "stage_two=cb" in more else ()), *more)
    record, folder = execute(tiny(tmp_path / "whole", *words))
    killed, done = killed_until_done(tiny(tmp_path / "killed", *words), monkeypatch, steps=5)
    assert killed and done[0].epochs == record.epochs
    assert_identical(results(record, folder), results(*done))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train.patience=2",), "set evaluation.select=best_validation"),
        (("train.patience=2", "dataset.validation_per_class=5", "evaluation.select=best_test"), "best_validation"),
        (("stage_two=cb", "train.patience=2", *WORDS[1:3]), "set stage_two.train.patience=2"),
        (("train.patience=0", *WORDS[1:3]), "train.patience= takes numbers from 1"),
    ],
)
def test_patience_without_validation_images_is_refused(words, said):
    assert said in refusal("method=ce", *words)
