"""One child process: its start, its heartbeats and its replacement."""

import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from router.runtime.clock import AwakeClock
from router.runtime.supervision import STARTING, TRY_AGAIN

PARENT, BEATS, HUNG = "{parent}", "{beats}", "{hung}"
MAX_PAUSE_SECONDS = 15.0  # between two starts
HEALTHY_SECONDS = 60.0  # of life: the next failure begins with the shortest pause
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Child:
    """A process to keep alive, with `folder` as its working directory.

    In its command and environment `PARENT` stands for our pid, `BEATS` for the pipe of its beats, `HUNG` for the phase
    in which its predecessor hung, empty if it did not.

    A beat is a line with the name of a phase. A new process is in `STARTING`; if it fails there it cannot start, unless
    it ends with `TRY_AGAIN`. It is replaced without a beat for the seconds that `stall` has for its phase, and once a
    signal has stopped it for `stopped` seconds, in any phase.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    stall: Mapping[str, float] = field(default_factory=dict)
    stopped: float = 20.0
    folder: Path | None = None


class Running:
    """A child's process, its last beat and the time of its next start."""

    def __init__(self, child: Child, clock: AwakeClock) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe = -1
        self.start_at = 0.0
        self.proven = False
        self._clock = clock
        self._pause = 0.0
        self._started = 0.0
        self._phase = STARTING
        self._beat = 0.0
        self._received = b""
        self._stopped_since: float | None = None
        self._hung_in = ""
        self._replaced = False

    def start(self) -> bool:
        """Start a process; return False to try again later."""
        try:
            self.pipe, theirs = os.pipe()
        except OSError as error:  # the machine has no pipe, or below no process, to give
            return self._postpone(error)
        known = {PARENT: str(os.getpid()), BEATS: str(theirs), HUNG: self._hung_in}
        command = [known.get(word, word) for word in self.child.command]
        environ = {**os.environ, **{name: known.get(value, value) for name, value in self.child.environ.items()}}
        try:
            self.process = subprocess.Popen(
                command, env=environ, pass_fds=[theirs], start_new_session=True, cwd=self.child.folder
            )
        except OSError as error:
            os.close(self.pipe)
            return self._postpone(error)
        finally:
            os.close(theirs)
        self._phase, self._received, self._stopped_since, self._replaced = STARTING, b"", None, False
        self._started = self._beat = self._clock.now
        log.info("started %s as process %d", self.child.name, self.process.pid)
        return True

    def _postpone(self, error: OSError) -> bool:
        self._schedule_start(lived=0)
        log.error("%s cannot be started now: %s; trying again in %.1f s", self.child.name, error, self._pause)
        return False

    def read_beats(self) -> bool:
        """Read beats from the pipe; return False at its end."""
        data = os.read(self.pipe, 65536)
        *lines, self._received = (self._received + data).split(b"\n")
        if lines and not self._replaced:
            self._take_beat(lines[-1].decode(errors="replace"))
        return bool(data)

    def _take_beat(self, phase: str) -> None:
        self._phase, self._beat = phase, self._clock.now
        if phase != STARTING:
            self.proven = True
            self._hung_in = ""  # of the predecessor

    def replace_if_silent(self) -> None:
        # once, however long it takes to die
        if self._replaced or not (reason := self._silence()):
            return
        log.error("%s %s: killing it", self.child.name, reason)
        self._hung_in, self._replaced = self._phase, True
        self.kill()

    def _silence(self) -> str:
        """Describe the child's silence; '' if it is alive."""
        now = self._clock.now
        if self.process is None or not _is_stopped(self.process.pid):
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        elif now - self._stopped_since > self.child.stopped:
            return f"is stopped, in phase {self._phase}"
        allowed = self.child.stall.get(self._phase)
        if allowed is not None and now - self._beat > allowed:
            return f"reported nothing in phase {self._phase} for too long"
        return ""

    def terminate(self) -> None:
        """Send SIGTERM, and wake the child and its children from SIGSTOP."""
        if self.process is not None:
            self.process.terminate()
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the child and its children, without waiting for their end."""
        # a driver may delay it; a later `poll` reaps the child
        if self.process is not None:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(self.process.pid, signal.SIGKILL)

    def handle_end(self) -> bool:
        """Clean up after an ended process and schedule the next start; False: never again."""
        assert self.process is not None
        self.kill()  # its children may hold its device
        code, self.process = self.process.returncode, None
        os.close(self.pipe)
        if code > 0 and code != TRY_AGAIN and not self.proven:
            log.error("%s cannot start: it ended with %d before its first beat", self.child.name, code)
            return False
        if self._replaced:  # at once: the stall time-out was pause enough
            self.start_at = self._clock.now
            log.warning("replacing %s", self.child.name)
            return True
        self._schedule_start(lived=self._clock.now - self._started)
        log.warning("%s ended with %d; starting it again in %.1f s", self.child.name, code, self._pause)
        return True

    def _schedule_start(self, lived: float) -> None:
        """Schedule the next start, after doubled pauses while processes die young."""
        self._pause = 0.5 if lived > HEALTHY_SECONDS else min(max(self._pause * 2, 0.5), MAX_PAUSE_SECONDS)
        self.start_at = self._clock.now + self._pause


def _is_stopped(pid: int) -> bool:
    """Say whether a signal such as SIGSTOP has stopped a process."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:  # it has ended
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
