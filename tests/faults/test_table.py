"""The documentation's table of faults names exactly the tests of this folder."""

import re
from pathlib import Path

from support.tables import TESTS, rows, section

HEADING = "What happens when"


def names_in(folder: Path) -> list[str]:
    """Return the names of a folder's tests, without this file's."""
    files = (path for path in folder.rglob("test_*.py") if path != Path(__file__))
    return [name for path in files for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)]


def test_every_fault_has_its_row_and_every_row_its_tests() -> None:
    named = re.findall(r"`(test_\w+)`", section(HEADING))

    assert set(named) <= set(names_in(TESTS))
    assert set(names_in(TESTS / "faults")) <= set(named)
    assert len(named) == len(set(named))
    assert all("`test_" in row for row in rows(HEADING))
