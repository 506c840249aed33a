"""Text of strangers as messages and logs may have it."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text on one line, with what would steer a terminal, or no client can decode, as an escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
