"""What only one of several processes does."""

from __future__ import annotations

import os


class Once:
    """Something that one of several processes does; made before they are forked."""

    def __init__(self) -> None:
        self._token, written = os.pipe()
        os.write(written, b"1")
        os.close(written)

    def taken(self) -> bool:
        """Return True to the first who asks."""
        return os.read(self._token, 1) == b"1"
