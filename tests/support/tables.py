"""The tables of docs/faults.md that name tests; `named` reads those as `FOLDER/MODULE.py::TEST` below `tests/`."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs" / "faults.md"


def section(heading: str) -> str:
    """Return the text under a heading."""
    return DOCS.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> list[str]:
    """Return the rows of a heading's table, without sub-headings."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [line for line in lines[1:] if not line.startswith("| **")]


def named(row: str) -> list[str]:
    """Return the tests named in a row."""
    return re.findall(r"`([\w/]+\.py::test_\w+)`", row)


def is_there(name: str) -> bool:
    """Say whether a test exists."""
    path, _, test = name.partition("::")
    file = TESTS / path
    return file.is_file() and re.search(rf"^def {test}\(", file.read_text(), re.MULTILINE) is not None
