"""An engine process: `python -m router.engine DEVICE PARENT BEATS HUNG`, started and watched by a supervisor."""

from __future__ import annotations

import os
import signal
import sys
import time

from sqlalchemy.exc import SQLAlchemyError

from registry import RegistryError
from router import logs
from router.engine import encode
from router.engine.device import hold
from router.engine.worker import Worker
from router.errors import BootError, reason
from router.settings import Settings
from router.supervisor import CANNOT_START, die_with
from router.system import assemble
from router.values import Phase


class Beats:
    """Writes the phase into the supervisor's pipe, at each change and once a second."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._last: tuple[Phase | None, float] = (None, 0.0)

    def __call__(self, phase: Phase | None) -> None:
        now = time.monotonic()
        if phase is not self._last[0] or now - self._last[1] > 1:
            self._last = (phase, now)
            os.write(self._pipe, f"{phase or 'idle'}\n".encode())


def main(device: str, parent: int, pipe: int, hung: str) -> None:
    """Run an engine until it is told to stop; `hung` is the phase in which the one before it hung, or empty."""
    die_with(parent)
    settings = Settings.from_environ()
    logs.configure(settings)
    with hold(settings.data, device):
        worker = Worker(assemble(settings, plugins=[encode]), device, Beats(pipe))
        logs.name_engine(worker.id)
        encode.require()  # after what the models need, which brings it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.keeper.stop())
        worker.run(Phase(hung) if hung else None)


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    except (BootError, RegistryError, SQLAlchemyError) as error:
        print(f"the engine cannot start:\n{reason(error)}", file=sys.stderr)
        sys.exit(CANNOT_START)
