"""Published results: one schema, the words of conf/, values that fit together, and errors that name file and entry."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from lt_bench.config.conf import names_in
from lt_bench.data.splits.imbalance import class_counts
from lt_bench.errors import UsageError
from lt_bench.evaluation.shots import GROUPS, shot_groups
from lt_bench.published import entries, lists, tables
from lt_bench.published.entries import Published, Spread, by_id, find, methods, of_method, read
from lt_bench.published.missing import EVERYTHING, missing

GOOD = {
    "id": "ce-none-cifar100_lt-100-resnet32_cifar-x",
    "label": "CE",
    "stage_two": "none",
    "dataset": "cifar100_lt",
    "imbalance": "if100",
    "all": 38.3,
    "run_by": "authors",
    "certainty": "read",
    "source": "a paper",
    "where": "Table 2",
}


@pytest.mark.parametrize("method", methods())
def test_every_file_is_of_the_schema(method):
    found = of_method(method)
    assert found and all(entry.method == method for entry in found)
    for entry in found:
        start = re.match(rf"{re.escape(method)}-.*{entry.dataset}-{entry.imbalance.removeprefix('if')}-", entry.id)
        assert start, f"{entry.id} does not say what it is"


def test_every_id_is_there_once_and_there_are_many():
    assert len(by_id()) == sum(len(of_method(method)) for method in methods()) > 500
    assert {"kcl", "tsc", "ride", "sade", "balpoe", "ncl", "glmc"} <= set(methods())


@pytest.mark.parametrize("method", methods())
def test_the_overall_accuracy_lies_among_the_groups_and_is_their_mean(method):
    """Weighted by the classes of each group, where these are known; one row of a model zoo is known to be off."""
    for entry in of_method(method):
        groups = [getattr(entry, group) for group in GROUPS]
        if entry.all is None or None in groups:
            continue
        assert min(groups) <= entry.all <= max(groups), entry.id
        sizes = lists.group_sizes(entry.dataset, entry.imbalance)
        if sizes and entry.groups == "count_100_20" and entry.test_distribution is None:
            mean = sum(size * one for size, one in zip(sizes, groups, strict=True)) / sum(sizes)
            assert abs(mean - entry.all) < 0.28, f"{entry.id}: {mean}"


def test_the_sizes_of_the_groups_are_those_of_the_rule():
    found = shot_groups(np.array(class_counts(500, 100, 100, "exponential")), "count_100_20")
    assert lists.group_sizes("cifar100_lt", "if100") == tuple(len(found[group]) for group in GROUPS)
    assert lists.group_sizes("inat18", "native") is None


def test_words_of_results_stand_in_conf_or_among_the_words_and_never_in_both():
    further = tables.table("words", ("method", "stage_two", "backbone"))
    for group in ("method", "stage_two", "backbone"):
        assert not set(further[group]) & set(names_in(group)), f"now in conf/{group}: take it out of words.yaml"
        used = {getattr(entry, group) for entry in by_id().values()}
        assert set(further[group]) <= used and all(len(said) > 5 for said in further[group].values())
    assert set(methods()) <= set(entries.words()["method"])


def test_texts_speak_of_papers_tables_and_repositories_alone():
    for entry in by_id().values():
        text = " ".join(str(value) for value in vars(entry).values())
        assert not re.search(r"shared/|seen_via|recalled|specification|not read here|\bNone-", text), entry.id


def test_the_entry_in_the_documentation_is_one():
    text = (Path(__file__).parents[2] / "docs" / "published.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    (entry,) = read("proco", shown)
    assert by_id()[entry.id] == entry


def test_spreads_are_those_of_the_accuracies_and_entries_cannot_be_changed():
    spread = {"all": 0.5}
    (one,) = read("ce", [GOOD | {"spread": spread, "spread_kind": "deviation of five runs"}])
    assert one.spread == Spread(all=0.5) and len({*by_id().values(), one}) == len(by_id()) + 1
    with pytest.raises(AttributeError):
        one.all = 50.0


def test_what_was_not_found_is_not_there():
    for cell in missing():
        found = find(cell.method, stage_two=cell.stage_two, dataset=cell.dataset, imbalance=cell.imbalance)
        known = [entry for entry in found if entry.stage_two is not None or cell.stage_two is None]
        if cell.missing == EVERYTHING:
            assert known == [], cell
        else:
            assert not any(entry.groups and entry.many is not None for entry in known), cell


def test_find_asks_what_is_given_and_leaves_out_variants():
    found = find("bcl", dataset="cifar100_lt", imbalance="if100", backbone="resnet32_cifar", epochs=400)
    assert found and {entry.epochs for entry in found} <= {None, 400}
    assert {entry.variant for entry in found} == {None}
    assert len(find("bcl", plain=False)) == len(of_method("bcl")) > len(find("bcl"))
    assert find("no_such_method") == [] and find("ce", dataset="digits_lt") == []
    assert {entry.test_distribution for entry in find("sade")} == {None}
    one = Published(method="ce", **GOOD)
    assert one.agrees(epochs=3, stage_two=None) and not one.agrees(imbalance="if50") and one.factor == 100
    assert replace(one, imbalance="native").factor is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"al": 3.0}, "unknown key al (did you mean all?)"),
        ({"seen_via": "x"}, "unknown key seen_via"),
        ({"method": "ce"}, "its method is the name of the file; take method out"),
        ({"all": 100.5}, "all is 100.5; it takes numbers from 0 to 100"),
        ({"all": float("nan")}, "all is nan; it takes numbers from 0 to 100"),
        ({"all": True}, "all is True; it takes numbers from 0 to 100"),
        ({"all": "38.3"}, "all is '38.3'; it takes numbers from 0 to 100"),
        ({"epochs": 0}, "epochs is 0; it takes whole numbers from 1"),
        ({"epochs": 1.5}, "epochs is 1.5; it takes whole numbers from 1"),
        ({"dataset": "cifar100"}, "dataset is 'cifar100'; it takes ade20k, cifar100_lt"),
        ({"imbalance": 100}, "imbalance is 100; it takes if10"),
        ({"imbalance": None}, "imbalance is None; it takes if10"),
        ({"stage_two": "crt"}, "stage_two is 'crt'; it takes cb"),
        ({"groups": "counts_100_20"}, "groups is 'counts_100_20'; it takes count_100_20, count_100_20_at_100, thirds"),
        ({"select": "best_on_test"}, "select is 'best_on_test'; it takes last, best_validation, best_test"),
        ({"certainty": "recalled"}, "certainty is 'recalled'; it takes read, transcribed, quoted"),
        ({"run_by": "me"}, "run_by is 'me'; it takes words like"),
        ({"test_distribution": "sideways2"}, "test_distribution is 'sideways2'; it takes words like"),
        ({"where": " "}, "where is ' '; it takes words"),
        ({"many": 60.0}, "it has some of many, medium and few; write all three"),
        ({"spread": {"all": 0.5}}, "spread and spread_kind stand together"),
        ({"spread": {"few": 0.5}, "spread_kind": "x"}, "it has a spread of few and no accuracy of that"),
        ({"spread": 0.5, "spread_kind": "x"}, "spread is 0.5; it takes percent by name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_entry(change, said):
    assert read("ce", [GOOD])[0].all == 38.3
    with pytest.raises(UsageError, match=re.escape(f"results/published/ce.yaml: entry {GOOD['id']}: {said}")):
        read("ce", [GOOD | change])


@pytest.mark.parametrize("name", ["id", "label", "dataset", "imbalance", "run_by", "certainty", "source", "where"])
def test_what_is_missing_is_named(name):
    with pytest.raises(UsageError, match=f"{name} is missing: "):
        read("ce", [{key: value for key, value in GOOD.items() if key != name}])
    with pytest.raises(UsageError, match="it has no accuracy"):
        read("ce", [{key: value for key, value in GOOD.items() if key != "all"}])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: 1\nentries: []\nentries: []", "x: no YAML (entries is there twice, in line 1 and below)"),
        ("schema: 1\nentries: [{all: 1, all: 2}]", "x: no YAML (all is there twice, in line 2 and below)"),
        ("schema: 1\nentries: [", "x: no YAML ("),
        ("schema: 2\nentries: []", "x: schema is 2; this version reads 1"),
        ("schema: 1\nentrys: []", "x: expected the keys schema, entries, found schema, entrys"),
        ("- 1", "x: expected the keys schema, entries, found list"),
        ("!!python/object/apply:os.getcwd []", "x: no YAML ("),
    ],
)
def test_a_file_that_is_none_is_named(text, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        tables.parse(text, "x", ("entries",))


def test_an_id_that_is_there_twice_is_refused(monkeypatch):
    one = Published(method="ce", **GOOD)
    monkeypatch.setattr(entries, "of_method", lambda method: (one,) if method in ("ce", "bcl") else ())
    with pytest.raises(UsageError, match=f"{GOOD['id']} is in results/published/ce.yaml too"):
        by_id.__wrapped__()
