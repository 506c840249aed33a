"""The figures of the documentation are those that were saved."""

import pytest

from bench.__main__ import FIGURES
from bench.tools.readme import BENCH, DOCS, FRONT, HEADLINES, front
from bench.tools.table import load
from docs.reference.markers import between

SAVED = {name: found for name in FIGURES if (found := load(name)) is not None}


def test_the_front_page_has_the_saved_figures() -> None:
    assert between(FRONT.read_text(), "figures") == f"{front(SAVED)}\n", "run: python -m bench --readme"


@pytest.mark.parametrize("name", SAVED)
def test_each_saved_figure_is_on_the_page_of_figures(name: str) -> None:
    page = (DOCS / "figures.md").read_text()
    section = between(page, "figures").partition(f"### {name}\n")[2].partition("\n### ")[0]

    figure = SAVED[name][0]
    assert [row.what for row in figure.rows if f"| {row.what} |" not in section] == []
    assert f"| [`{name}`](#{name}) |" in page, "the page must say what each figure measures"


def test_a_headline_without_its_row_is_refused() -> None:
    boot = HEADLINES[0].figure
    with pytest.raises(LookupError, match=f"{boot} must have one row"):
        front({name: found for name, found in SAVED.items() if name != boot})


def test_the_page_of_benchmarks_leads_to_the_figures() -> None:
    assert "(../docs/figures.md)" in BENCH.read_text()
