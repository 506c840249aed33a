"""`docs/architecture.md` names files that exist, and its picture is up to date."""

import re
from pathlib import Path

import pytest

from docs import architecture
from tests.test_boundaries import FLOORS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PATH = re.compile(r"`((?:bench|docs|nano|plugins|registry|router|script|tests)/[\w/.]*|[\w]+\.(?:md|py|cfg))`")


def test_each_path_exists() -> None:
    paths = PATH.findall(PAGE)

    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_each_room_is_described() -> None:
    rooms = {
        room for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for room in re.findall(r"`([\w.]+)`", row)
    }

    top = {room for floor in FLOORS for room in floor if room.count(".") < 2}
    assert top - rooms == set()


@pytest.mark.parametrize("steps", [architecture.REQUEST, architecture.JOB], ids=["request", "job"])
def test_each_module_in_the_picture_exists(steps: tuple[tuple[str, str], ...]) -> None:
    paths = [path for _, where in steps for path in re.findall(r"[\w/]+\.py", where)]

    assert [path for path in paths if not (ROOT / "router" / path).exists()] == []


def test_the_picture_is_up_to_date() -> None:
    assert architecture.PICTURE.read_text() == architecture.svg(), "run: python -m docs.architecture"
