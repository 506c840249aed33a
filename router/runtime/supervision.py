"""What a child tells its supervisor: its phase by heartbeats, and its exit status."""

import os
import time

from router.errors import is_outage

CANNOT_START = 4  # exit status: settings, plugins, models or the device are wrong: another start would fail too
TRY_AGAIN = 75  # exit status: the reason is temporary, such as a locked store
STARTING = "start"  # the phase of a process before its work
SERVING = "serve"  # the phase of the web half at its work
EVERY_SECONDS = 1.0


def exit_status(error: Exception) -> int:
    """Return the exit status of a process that an error kept from its start."""
    return TRY_AGAIN if error.__cause__ is not None and is_outage(error.__cause__) else CANNOT_START


class Beats:
    """Writes the phase to the supervisor's pipe, at each change and once a second."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._last = ("", 0.0)

    def __call__(self, phase: str) -> None:
        now = time.monotonic()
        if phase == self._last[0] and now - self._last[1] < EVERY_SECONDS:
            return
        self._last = (phase, now)
        try:
            os.write(self._pipe, f"{phase}\n".encode())
        except BlockingIOError:  # a full pipe: the supervisor has been suspended for hours
            self._last = ("", 0.0)
