"""`Presentation` and the JSON of a job's row, in the shapes of every version."""

from dataclasses import replace
from typing import Any

import pytest

from router.values import Dialect, OutputPart, Presentation

OLD: dict[str, tuple[dict[str, Any], Presentation]] = {
    "a response": (
        {
            "part": "output_image",
            "inline": True,
            "metadata": {"a": "b"},
            "instructions": "in oil",
            "background": False,
            "store": False,
            "attended": True,
            "temperature": 0.5,
            "tools": [{"type": "function", "name": "f"}],
        },
        Presentation(
            part=OutputPart.IMAGE,
            inline=True,
            attended=True,
            background=False,
            store=False,
            instructions="in oil",
            metadata={"a": "b"},
            echoed={"temperature": 0.5, "tools": [{"type": "function", "name": "f"}]},
        ),
    ),
    "a video": ({"part": "output_video", "seconds": None}, Presentation(Dialect.VIDEOS)),
    "a remix": (
        {"part": "output_video", "seconds": 2.0, "remixed_from": "0" * 32},
        Presentation(Dialect.VIDEOS, seconds=2.0, remixed_from="0" * 32),
    ),
}
ALL = Presentation(
    part=OutputPart.TEXT,
    inline=True,
    attended=True,
    background=False,
    store=False,
    instructions="a",
    system=("b", "c"),
    prompt="d",
    metadata={"e": "f"},
    text_output=True,
    file_format="webp",
    siblings=("1" * 32, "2" * 32),
    echoed={"top_p": 1},
)
WAITED = Presentation(Dialect.VIDEOS, attended=True, inline=True, file_format="jpeg", siblings=("1" * 32,))


@pytest.mark.parametrize(("row", "presentation"), OLD.values(), ids=OLD.keys())
def test_a_row_of_an_older_version_is_read_and_would_be_written_again(
    row: dict[str, Any], presentation: Presentation
) -> None:
    assert Presentation.from_row(row) == presentation
    assert presentation.as_row() == row  # else the idempotency keys of that version would not match


def test_a_row_without_anything_has_the_defaults() -> None:
    assert Presentation.from_row({}) == Presentation()


def test_every_field_comes_back() -> None:
    assert Presentation.from_row(ALL.as_row()) == ALL
    assert replace(Presentation.from_row(WAITED.as_row()), metadata={}) == WAITED
