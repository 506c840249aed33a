"""What a header reader finds in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.media.orientation import Turn
from router.media.tags import ColourTags

if TYPE_CHECKING:
    from router.media.png import Layout


@dataclass(frozen=True)
class Stored:
    """A file's header: pixels before it is turned, frames, EXIF and colour tags.

    `turn` takes the place of the EXIF orientation; `corner` is the left and top of what is shown of the picture.
    `png` is how the samples of a PNG are read.
    """

    width: int
    height: int
    exif: bytes = b""
    alpha: bool = False
    frames: int = 1
    pictures: int = 1
    colour: ColourTags = field(default_factory=ColourTags)
    turn: Turn | None = None
    corner: tuple[int, int] = (0, 0)
    png: Layout | None = None
