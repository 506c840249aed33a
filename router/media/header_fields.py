"""The fields that a header reader finds in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.media.orientation import Orientation
from router.media.tags import ColourTags

if TYPE_CHECKING:
    from router.media.png import Layout


@dataclass(frozen=True)
class HeaderFields:
    """A file's header: size before its orientation, frames, EXIF and colour tags.

    `orientation` overrides that of the EXIF; `corner` is the left and top of the visible part. `png` is the layout of
    a PNG's samples.
    """

    width: int
    height: int
    exif: bytes = b""
    alpha: bool = False
    frames: int = 1
    pictures: int = 1
    colour: ColourTags = field(default_factory=ColourTags)
    orientation: Orientation | None = None
    corner: tuple[int, int] = (0, 0)
    png: Layout | None = None
