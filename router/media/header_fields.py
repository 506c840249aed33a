"""The fields of a picture's header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from router.media import exif
from router.media.exif import Orientation

if TYPE_CHECKING:
    from router.media.png import Layout


class Channels(Enum):
    """The channels of a stored picture, by an ICC profile's word for them."""

    GREY = b"GRAY"
    RGB = b"RGB "
    CMYK = b"CMYK"

    def __str__(self) -> str:
        return {Channels.GREY: "grey"}.get(self, self.name)


@dataclass(frozen=True)
class ColourTags:
    """A picture's unread colour description.

    `profile` is an ICC profile, `problem` what kept a reader from joining one. `png` has a PNG's colour chunks by
    type, empty where a chunk is damaged. `code_points` are ISO/IEC 23091-2 numbers for primaries and transfer.
    """

    channels: Channels = Channels.RGB
    profile: bytes = b""
    problem: str = ""
    png: Mapping[bytes, bytes] = field(default_factory=dict)
    code_points: tuple[int, int] | None = None


@dataclass(frozen=True)
class Header:
    """A file's header, with the size in pixels as stored, before the orientation.

    `turned` overrides the orientation in the EXIF; `corner` is the left and top of the visible part. `png` is the
    layout of a PNG's samples.
    """

    media_type: str
    width: int
    height: int
    exif: bytes = b""
    alpha: bool = False
    frames: int = 1
    pictures: int = 1
    colour: ColourTags = field(default_factory=ColourTags)
    turned: Orientation | None = None
    corner: tuple[int, int] = (0, 0)
    png: Layout | None = None

    @property
    def orientation(self) -> Orientation:
        return exif.orientation(self.exif) if self.turned is None else self.turned
