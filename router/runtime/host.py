"""Which machine this is, for a store of many machines."""

import hashlib
import socket
from pathlib import Path

from router.runtime import clock


def host_name() -> str:
    return socket.gethostname().lower()


def lock_domain(data: Path) -> str:
    """Return a digest of this boot and a folder, whose processes share locks."""
    # names of hosts repeat: containers on one machine may have its name, and a folder of their own
    state = data.stat()
    return hashlib.sha256(f"{clock.boot()} {state.st_dev} {state.st_ino}".encode()).hexdigest()[:32]
