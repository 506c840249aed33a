"""The rules by which the figures of the house count."""

import ast

from bench.figures import house


def test_modules_in_a_circle_are_found_and_their_importers_are_not() -> None:
    assert house.circular({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"b", "c"}


def test_a_docstring_adds_no_length() -> None:
    (function,) = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body

    assert isinstance(function, ast.FunctionDef)
    assert house.length(function) == 2
