"""Tests named in the documentation exist."""

import pytest
from support.tables import is_there, named, rows


@pytest.mark.parametrize("heading", ["Hostile input"])
def test_every_row_names_its_tests_and_they_are_there(heading: str) -> None:
    found = rows(heading)

    assert found
    assert [row for row in found if not named(row)] == []
    assert [name for row in found for name in named(row) if not is_there(name)] == []


def test_a_test_that_is_not_there_would_be_found() -> None:
    assert is_there("test_tables.py::test_a_test_that_is_not_there_would_be_found")
    assert not is_there("test_tables.py::test_nothing")
    assert not is_there("nowhere/test_tables.py::test_nothing")
