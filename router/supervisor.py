"""Keep child processes alive: restart what dies, kill what hangs, stop all of them in time."""

from __future__ import annotations

import ctypes
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CANNOT_START = 4  # the exit status of a process whose settings, plugins, models or device are wrong
PARENT, BEATS, HUNG = "{parent}", "{beats}", "{hung}"
STOP_SECONDS = 8.0
LONGEST_PAUSE = 30.0
HEALTHY_SECONDS = 60.0
TICK_SECONDS = 0.2
STDERR = 2
PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


def die_with(parent: int) -> None:
    """End this process with SIGKILL when its parent dies, at whatever line either is."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} is gone")


@dataclass(frozen=True)
class Child:
    """A process to keep.

    In its command and environment the word `PARENT` stands for our pid, `BEATS` for the pipe that takes
    its beats, `HUNG` for the phase in which the process before it hung, empty if it did not. A beat is a line
    that names a phase; a phase named in `stall` that goes on for longer than so many seconds without another
    beat is hung. A child that fails before its first beat cannot start. It works in `folder`, by default in ours.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    stall: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None


class _Running:
    """One child: its process, its last beat, and when it may be started again."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.pause = 0.0
        self.start_at = 0.0
        self.started = 0.0
        self.phase = "idle"
        self.beat = 0.0
        self.proven = False
        self.hung_in = ""

    def start(self) -> None:
        self.pipe, theirs = os.pipe()
        known = {PARENT: str(os.getpid()), BEATS: str(theirs), HUNG: self.hung_in}
        command = [known.get(word, word) for word in self.child.command]
        environ = {**os.environ, **{name: known.get(value, value) for name, value in self.child.environ.items()}}
        self.process = subprocess.Popen(
            command, env=environ, pass_fds=[theirs], start_new_session=True, cwd=self.child.folder
        )
        os.close(theirs)
        self.phase, self.started = "idle", time.monotonic()
        log.info("started %s as process %d", self.child.name, self.process.pid)

    def hear(self) -> bool:
        """Take what the child says; False when it has closed its end."""
        said = os.read(self.pipe, 65536)
        if said:
            self.phase, self.beat, self.proven = said.split()[-1].decode(), time.monotonic(), True
            self.hung_in = ""  # the process before this one is no longer of interest
        return bool(said)

    def hung(self) -> bool:
        allowed = self.child.stall.get(self.phase)
        return allowed is not None and time.monotonic() - self.beat > allowed

    def kill(self) -> None:
        """Kill the child and what it started; a later `poll` reaps it, since the driver may keep it for a while."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # all of them have ended
                os.killpg(self.process.pid, signal.SIGKILL)

    def ended(self) -> bool:
        """Take leave of a process that ended; plan the next start, later each time. False when there is none."""
        assert self.process is not None
        self.kill()  # what it started may hold its device
        code, self.process = self.process.returncode, None
        os.close(self.pipe)
        if code > 0 and not self.proven:
            log.error("%s cannot start: it ended with %d before its first beat", self.child.name, code)
            return False
        lived = time.monotonic() - self.started
        self.pause = 0.5 if lived > HEALTHY_SECONDS else min(max(self.pause * 2, 0.5), LONGEST_PAUSE)
        self.start_at = time.monotonic() + self.pause
        log.warning("%s ended with %d; starting it again in %.1f s", self.child.name, code, self.pause)
        return True


class Supervisor:
    """Runs its children until SIGTERM or SIGINT, or until one could not start even once.

    At SIGHUP it calls `reload`, unless the signal says that the terminal it was started from is closed: it stops then.
    """

    def __init__(self, children: Sequence[Child], reload: Callable[[], None] = lambda: None) -> None:
        self._children = [_Running(child) for child in children]
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._reload = reload
        self._reloading = False
        self._from_terminal = os.isatty(STDERR)

    def run(self) -> int:
        """Return the exit status: 0 after a signal, `CANNOT_START` when a child said so."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        status = 0
        try:
            while not self._stopping and status == 0:
                status = self._tick()
        finally:
            self._stop_children()
        return status

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _hang_up(self, *_: object) -> None:
        if self._from_terminal and not os.isatty(STDERR):
            self._stopping = True
        self._reloading = True

    def _tick(self) -> int:
        if self._reloading:
            self._reloading = False
            self._reload()
        for running in self._children:
            if running.process is None and time.monotonic() >= running.start_at:
                running.start()
                self._selector.register(running.pipe, selectors.EVENT_READ, running)
        for key, _ in self._selector.select(TICK_SECONDS):
            if not key.data.hear():
                self._selector.unregister(key.fd)
        alive = [self._check(running) for running in self._children if running.process is not None]
        return 0 if all(alive) else CANNOT_START

    def _check(self, running: _Running) -> bool:
        """Kill the child if it hangs and take leave if it ended; False when it will never start."""
        if running.hung():
            log.error("%s reported nothing in phase %s for too long: killing it", running.child.name, running.phase)
            running.hung_in = running.phase
            running.kill()
        if running.process is None or running.process.poll() is None:
            return True
        if running.pipe in self._selector.get_map():
            self._selector.unregister(running.pipe)
        return running.ended()

    def _stop_children(self) -> None:
        log.info("stopping")
        alive = [running for running in self._children if running.process is not None]
        for running in alive:
            if running.process is not None:
                running.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(r.process and r.process.poll() is None for r in alive):
            time.sleep(0.02)
        for running in alive:
            if running.process is not None and running.process.poll() is None:
                log.warning("%s did not stop in time: killing it", running.child.name)
            running.kill()
        log.info("stopped; unfinished jobs go on at the next start")
