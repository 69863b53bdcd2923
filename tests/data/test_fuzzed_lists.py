"""Lists, names of classes and split lists that are nearly right: read whole, or refused in the reader's own words."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import lists, split_lists

READERS = lists.READERS | split_lists.READERS


@pytest.mark.parametrize("name", READERS)
def test_a_list_is_read_or_refused(name):
    reader, ends = READERS[name], set()

    @settings(
        max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(reader.inputs)
    def read(content):
        try:
            reader.read(content)
            ends.add("read")
        except reader.allowed as error:
            assert str(error)
            ends.add("refused")

    read()
    assert ends == {"read", "refused"}
