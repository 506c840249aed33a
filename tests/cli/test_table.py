"""A table keeps its columns narrow and loses no text."""

import pytest

from router.cli.table import WIDEST, show

LONG = "broken: " + "a reason that goes on " * 8


def test_a_long_cell_is_cut_in_its_row_and_whole_below(capsys: pytest.CaptureFixture[str]) -> None:
    show([("NAME", "STATE", "SOURCE"), ("a" * 90, LONG, "/folder" * 20), ("b", "x" * WIDEST, "-")])
    heading, first, second, below = capsys.readouterr().out.splitlines()

    assert first.startswith("a" * 90)  # a name is copied
    assert first.endswith("…  " + "/folder" * 20)
    assert heading.index("SOURCE") == first.index("/folder") == 90 + 2 + WIDEST + 2
    assert second.split() == ["b", "x" * WIDEST, "-"]
    assert below == f"{'a' * 90}: {LONG}"


def test_numbers_are_aligned_at_their_right(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [
            ("1", "SECONDS", "RPM", "OF"),
            ("2", "9.500", "-", "1 of 2"),
            ("30", "110.000", "60", "2"),
            ("4", "", "7", "-"),
        ]
    )

    assert capsys.readouterr().out.splitlines() == [
        "1   SECONDS  RPM  OF",
        "2     9.500    -  1 of 2",
        "30  110.000   60  2",
        "4              7  -",
    ]


def test_a_short_table_has_its_rows_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show([("NAME", "STATE", "SOURCE"), ("a", "cold", "-")])

    assert capsys.readouterr().out == "NAME  STATE  SOURCE\na     cold   -\n"
