"""An action of only one of several processes."""

import os


class Once:
    """A token for one of several processes, made before they fork."""

    def __init__(self) -> None:
        self._token, written = os.pipe()
        os.write(written, b"1")
        os.close(written)

    def taken(self) -> bool:
        """Return True to the first process that calls this."""
        return os.read(self._token, 1) == b"1"
