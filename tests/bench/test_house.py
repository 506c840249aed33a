"""The rules by which the figures of the house count."""

from __future__ import annotations

import ast

import pytest

from bench.figures import house


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("Return the quantile of values.", False),
        ("One two three four five six seven eight nine ten eleven twelve thirteen fourteen.", False),
        ("One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen.", True),
        ("`a b c d e f g h i j k l m n` is code.", False),
        ("Return what is read by what comes.", True),
        ("Wait for so many seconds.", True),
    ],
)
def test_a_long_or_vague_first_line_breaks_the_rule(line: str, bad: bool) -> None:
    assert house.breaks_rule(line) is bad


def test_modules_in_a_circle_are_found_and_their_importers_are_not() -> None:
    assert house.circular({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"b", "c"}


def test_a_docstring_adds_no_length() -> None:
    (function,) = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body

    assert isinstance(function, ast.FunctionDef)
    assert house.length(function) == 2


def test_the_floors_are_those_of_the_boundary_test() -> None:
    from tests import test_boundaries

    assert house.floors() == test_boundaries.FLOORS
