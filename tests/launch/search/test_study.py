"""The study that the processes of a search share: what it draws, what it stops, what is in its file."""

import json
import math

import pytest

from lt_bench.config.schema import Search
from lt_bench.launch.search.planned import PlannedSearch, plan_search
from lt_bench.launch.search.space import Choice, Numbers

pytest.importorskip("optuna", reason="needs lt_bench[search]")

from lt_bench.launch.search.study import JOURNAL, ask, axes_of, falls_behind, note, open_study, tell

AXES = {
    "train.batch_size": Numbers(16, 128, step=16),
    "train.lr": Numbers(0.001, 1.0, log=True),
    "x": Choice(("a", "b")),
}
QUICK = Search(name="optuna", random_trials=4)


def score_of(words):
    """A score that is best at a rate of 0.1 with b."""
    values = dict(word.split("=") for word in words)
    return (values["x"] == "b") - abs(math.log10(float(values["train.lr"])) + 1) / 4


def drawn(folder, trials, search=QUICK):
    """The words of some trials in a row; the study is opened anew for each, as its process does it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(trials):
        study = open_study(folder, search, False, number)
        key, words = ask(study, AXES)
        tell(study, key, score_of(words))
        found.append(words)
    return found


def test_the_same_words_draw_the_same_trials_and_another_seed_others(tmp_path):
    first = drawn(tmp_path / "a", 12)
    assert drawn(tmp_path / "b", 12) == first
    assert len({tuple(words) for words in first}) == 12
    assert drawn(tmp_path / "c", 2, Search(name="optuna", seed=1))[0] != first[0]


def test_trials_after_the_random_ones_follow_the_scores(tmp_path):
    scores = [score_of(words) for words in drawn(tmp_path, 30)]
    assert sum(scores[15:]) / 15 > sum(scores[:4]) / 4 + 0.1


def test_a_trial_that_was_lost_changes_none_after_it(tmp_path):
    first = drawn(tmp_path / "a", 3)
    (tmp_path / "b").mkdir()
    ask(open_study(tmp_path / "b", QUICK, False, 0), AXES)  # killed before anybody wrote it down
    assert drawn(tmp_path / "b", 3) == first


def test_a_trial_below_the_median_is_stopped_and_only_then(tmp_path):
    search = Search(name="optuna", prune_after_trials=3, prune_after_epochs=1)
    for number, score in enumerate((0.5, 0.6, 0.7)):
        study = open_study(tmp_path, search, True, number)
        key, _ = ask(study, AXES)
        for epoch in range(3):
            note(study, key, epoch, score)
            assert not falls_behind(study, key)
        tell(study, key, score)
    study = open_study(tmp_path, search, True, 3)
    key, _ = ask(study, AXES)
    note(study, key, 0, 0.1)
    assert not falls_behind(study, key)  # not before so many epochs
    note(study, key, 1, 0.65)
    note(study, key, 1, 0.1)  # told once more after a resume: the first counts
    assert not falls_behind(study, key)
    note(study, key, 2, 0.55)
    assert not falls_behind(study, key)  # by its best score so far
    key, _ = ask(study, AXES)
    note(study, key, 1, 0.55)
    assert falls_behind(study, key)
    tell(study, key, None)
    tell(study, key, 0.9)  # it has ended: nothing changes that
    assert study.trials[key].state.name == "PRUNED"


def test_the_file_of_a_study_holds_lines_of_json(tmp_path):
    drawn(tmp_path, 2)
    lines = (tmp_path / JOURNAL).read_text(encoding="utf-8").splitlines()
    assert len(lines) > 4 and all(isinstance(json.loads(line), dict) for line in lines)


def test_axes_are_read_as_they_were_written():
    written = PlannedSearch((), plan_search(WORDS).config, AXES, "0").written({})
    assert axes_of(json.loads(json.dumps(written))["axes"]) == AXES


WORDS = ("search=optuna", "method=ce", "dataset.validation_per_class=5", "search.space.train.lr=0.1,0.2")
