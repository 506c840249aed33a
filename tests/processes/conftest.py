"""The fixture that starts real servers."""

from server import serve

__all__ = ["serve"]
