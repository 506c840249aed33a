"""The result of a decoder process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PreparedImage:
    """The upright sRGB PNG to store, and notes on the colours of its source."""

    png: bytes
    notes: tuple[str, ...] = ()
