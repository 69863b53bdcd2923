"""What is known of published lists: one table, each fact in its form."""

import re

import pytest

from lt_bench.config.conf import names_in
from lt_bench.errors import UsageError
from lt_bench.published import lists
from lt_bench.published.lists import counted, group_sizes, prefixes, published_lists


def test_every_fact_has_its_form():
    found = [one for dataset in names_in("dataset") for one in published_lists(dataset)]
    assert len(found) == len({one.blob for one in found}) == len(lists._lists())
    for one in found:
        assert one.part in ("train", "validation", "test") and re.fullmatch(r"[0-9a-f]{40}", one.blob)
        assert one.normalised_sha256 is None or re.fullmatch(r"[0-9a-f]{64}", one.normalised_sha256)
        assert one.prefix is None or one.prefix.endswith("/") and one.prefix in prefixes()
    assert set(counted()) <= set(names_in("dataset")) and not [name for name in counted() if published_lists(name)]
    assert "" in prefixes() and group_sizes("places_lt", "native") == (131, 163, 71)


def test_an_unknown_key_is_named(monkeypatch):
    monkeypatch.setattr(lists, "_table", lambda: {"lists": [{"dataset": "a", "part": "train", "sha": "x"}]})
    with pytest.raises(UsageError, match=r"results/published/lists.yaml: a train: unknown key sha"):
        lists._lists.__wrapped__()
