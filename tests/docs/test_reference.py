"""The generated tables of the documentation are up to date."""

from pathlib import Path

import pytest

from docs.reference.markers import between, filled, markers
from docs.reference.meanings import meaning
from docs.reference.pages import TABLES, current, pages
from docs.reference.table import table

BY_BENCH = {"figures", "card"}  # python -m bench --readme writes these


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_the_tables_are_up_to_date(path: Path) -> None:
    text = path.read_text()

    assert text == current(text), "run: python -m docs.reference"


def test_each_table_stands_on_one_page() -> None:
    found = [marker for path in pages() for marker in markers(path.read_text())]

    assert sorted(found) == sorted([*TABLES, *BY_BENCH])


@pytest.mark.parametrize("name", TABLES)
def test_each_table_has_rows_of_one_width(name: str) -> None:
    rows = [line for line in TABLES[name]().splitlines() if line.startswith("|")]
    widths = {line.replace(r"\|", "").count("|") for line in rows}

    assert len(rows) > 5
    assert len(widths) == 1


def test_a_bar_in_a_cell_is_escaped() -> None:
    assert table(("a",), [("`N|none`",)]).splitlines()[-1] == r"| `N\|none` |"


def test_text_between_markers_is_replaced_and_found() -> None:
    page = "a\n<!-- x -->\nold\n<!-- /x -->\nb"

    assert filled(page, "x", "new\n") == "a\n<!-- x -->\nnew\n\n<!-- /x -->\nb"
    assert between(page, "x") == "old\n"


@pytest.mark.parametrize("page", ["", "<!-- x -->\n", "<!-- x -->\n<!-- /x -->\n<!-- x -->\n<!-- /x -->"])
def test_a_page_without_one_pair_of_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match=r"must have <!-- x --> ... <!-- /x --> once, got"):
        filled(page, "x", "text")


def test_a_name_without_a_meaning_is_refused() -> None:
    with pytest.raises(LookupError, match=r"meanings.py must have an entry for pin, got none"):
        meaning({}, "pin")
