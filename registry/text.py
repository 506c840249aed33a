"""Text of strangers, safe for messages and logs."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text on one line, with control and undecodable characters escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
