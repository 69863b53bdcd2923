"""Every field of the schema says what it means and what it takes, and its default is that."""

import ast
import dataclasses
from dataclasses import fields

import pytest
from omegaconf import MISSING

from lt_bench.config import schema
from lt_bench.config.annotations import accepts
from lt_bench.config.settings import Setting, default_of, setting, setting_of

GROUPS = [one for one in vars(schema).values() if isinstance(one, type) and dataclasses.is_dataclass(one)]
FIELDS = [(owner, field) for owner in GROUPS for field in fields(owner)]


@pytest.mark.parametrize(("owner", "field"), FIELDS, ids=lambda one: getattr(one, "__name__", getattr(one, "name", "")))
def test_every_field_says_what_it_means_and_takes(owner, field):
    about, default = setting_of(field), default_of(field)
    assert about.help and about.help[-1] not in ".;,: " and len(about.help) <= 220
    assert about.least <= about.most and about.above < about.most
    annotation = ast.parse(field.type, mode="eval").body
    if default == MISSING:
        return
    assert accepts(default, annotation)
    assert not about.choices or default in about.choices
    assert about.length is None or default is None or len(default) == about.length
    for number in default if isinstance(default, list) else [default]:
        if isinstance(number, (int, float)):
            assert about.least <= number <= about.most and number > about.above


def test_the_groups_are_found():
    assert {schema.Config, schema.Dataset, schema.StageTwo, schema.Launch} <= set(GROUPS) and len(FIELDS) > 100


def test_a_default_that_can_be_changed_is_made_anew_for_every_object():
    @dataclasses.dataclass
    class Group:
        numbers: list[int] = setting([1, 2], help="some numbers")
        table: dict = setting({"a": 1}, help="a table")
        part: schema.Budget = setting(schema.Budget, help="a part")

    one, other = Group(), Group()
    for name in ("numbers", "table", "part"):
        assert getattr(one, name) == getattr(other, name) and getattr(one, name) is not getattr(other, name)
    assert one.numbers == [1, 2] and one.table == {"a": 1} and isinstance(one.part, schema.Budget)


def test_a_field_without_a_setting_says_nothing():
    @dataclasses.dataclass
    class Group:
        number: int = 3

    (field,) = fields(Group)
    assert setting_of(field) == Setting("") and default_of(field) == 3
