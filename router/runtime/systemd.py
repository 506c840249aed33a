"""What systemd wants to know of the topmost process: that it is ready, that it lives, that it stops."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

EVERY_SECONDS = 1.0
STARTS = "EXTEND_TIMEOUT_USEC=60000000"  # a start may take long, as long as this is repeated
log = logging.getLogger(__name__)


class Notifier:
    """Tells systemd, where it has given a socket to tell it by (see sd_notify(3)); no child inherits that."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        name = environ.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name  # systemd writes an abstract name so
        self._ready = False
        self._sent = -EVERY_SECONDS

    def alive(self, ready: bool) -> None:
        """Show life, once a second however often it is called; from the first `ready` on, serving."""
        now = time.monotonic()
        if ready and not self._ready:
            self._ready = self._send("READY=1\nWATCHDOG=1")
        elif now - self._sent >= EVERY_SECONDS:
            self._send("WATCHDOG=1" if self._ready else STARTS)
        else:
            return
        self._sent = now

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> bool:
        """Send what systemd reads; False where it did not go, and then the next sign of life must do."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            log.debug("systemd was not told %s: %s", state, error)
            return False
        return True
