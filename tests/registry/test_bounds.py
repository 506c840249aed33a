"""`Bounds` of numbers."""

import pytest

from registry.bounds import Bounds


@pytest.mark.parametrize(
    ("value", "integer", "number"),
    [
        *((1, True, True), (3, True, True), (0, False, False), (4, False, False), (2.5, False, True)),
        *((True, False, False), ("2", False, False), (None, False, False)),
        *((float("nan"), False, False), (float("inf"), False, False)),
    ],
)
def test_a_value_is_in_bounds(value: object, integer: bool, number: bool) -> None:
    bounds = Bounds(1, 3)

    assert (bounds.integer(value), bounds.number(value)) == (integer, number)


def test_the_least_may_be_excluded() -> None:
    assert not Bounds(0, 1, above=True).number(0)
    assert Bounds(0, 1, above=True).number(0.1)


def test_bounds_end_a_message() -> None:
    assert [str(Bounds(1, 60)), str(Bounds(0, 20.5, above=True))] == ["from 1 to 60", "above 0 to 20.5"]
