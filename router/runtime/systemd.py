"""Notifications to systemd: ready, alive, stopping."""

import logging
import os
import socket
import time
from collections.abc import MutableMapping

EVERY_SECONDS = 1.0
STARTS = "EXTEND_TIMEOUT_USEC=60000000"  # repeated during a long start
log = logging.getLogger(__name__)


class Notifier:
    """Notifies systemd through its socket, if there is one (sd_notify(3))."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        name = environ.pop("NOTIFY_SOCKET", "")  # so that no child inherits it
        self._address = f"\0{name[1:]}" if name.startswith("@") else name  # systemd's form of an abstract name
        self._ready = False
        self._sent = -EVERY_SECONDS

    def alive(self, ready: bool) -> None:
        """Send a sign of life each second, and READY with the first `ready`."""
        now = time.monotonic()
        if ready and not self._ready:
            self._ready = self._send("READY=1\nWATCHDOG=1")  # again at the next sign of life if it was not sent
        elif now - self._sent >= EVERY_SECONDS:
            self._send("WATCHDOG=1" if self._ready else STARTS)
        else:
            return
        self._sent = now

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> bool:
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            log.debug("systemd did not get %s: %s", state, error)
            return False
        return True
