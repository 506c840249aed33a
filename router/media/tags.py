"""The colour tags in a file's header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


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
