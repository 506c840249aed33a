"""One child process: how it is started, which signs of life it gives, and when it is to be replaced."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from router.runtime.awake_clock import AwakeClock
from router.runtime.beats import STARTING
from router.runtime.exit_codes import TRY_AGAIN

PARENT, BEATS, HUNG = "{parent}", "{beats}", "{hung}"
LONGEST_PAUSE = 15.0
HEALTHY_SECONDS = 60.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Child:
    """A process to keep.

    In its command and environment the word `PARENT` stands for our pid, `BEATS` for the pipe that takes
    its beats, `HUNG` for the phase in which the process before it hung, empty if it did not. It works in
    `folder`, by default in ours.

    A beat is a line that names a phase. A new process is in `STARTING`; one that fails in it cannot start,
    unless it ends with `TRY_AGAIN`. Without a beat for the seconds that `stall` has for its phase, it is
    replaced; so is one that a signal has stopped for `stopped` seconds, in any phase.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    stall: Mapping[str, float] = field(default_factory=dict)
    stopped: float = 20.0
    folder: Path | None = None


class Running:
    """A child's process, its last beat, and when it may be started again."""

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
        self._heard = b""
        self._stopped_since: float | None = None
        self._hung_in = ""
        self._replaced = False

    def start(self) -> bool:
        """Start a process; False where the machine has none to give, and then it is tried again later."""
        try:
            self.pipe, theirs = os.pipe()
        except OSError as error:
            return self._put_off(error)
        known = {PARENT: str(os.getpid()), BEATS: str(theirs), HUNG: self._hung_in}
        command = [known.get(word, word) for word in self.child.command]
        environ = {**os.environ, **{name: known.get(value, value) for name, value in self.child.environ.items()}}
        try:
            self.process = subprocess.Popen(
                command, env=environ, pass_fds=[theirs], start_new_session=True, cwd=self.child.folder
            )
        except OSError as error:
            os.close(self.pipe)
            return self._put_off(error)
        finally:
            os.close(theirs)
        self._phase, self._heard, self._stopped_since, self._replaced = STARTING, b"", None, False
        self._started = self._beat = self._clock.now
        log.info("started %s as process %d", self.child.name, self.process.pid)
        return True

    def _put_off(self, error: OSError) -> bool:
        self._rest(lived=0)
        log.error("%s cannot be started now: %s; trying again in %.1f s", self.child.name, error, self._pause)
        return False

    def hear(self) -> bool:
        """Take what the child says; False when it has closed its end."""
        said = os.read(self.pipe, 65536)
        *lines, self._heard = (self._heard + said).split(b"\n")
        if lines and not self._replaced:
            self._take_beat(lines[-1].decode(errors="replace"))
        return bool(said)

    def _take_beat(self, phase: str) -> None:
        self._phase, self._beat = phase, self._clock.now
        if phase != STARTING:
            self.proven = True
            self._hung_in = ""  # the process before this one is no longer of interest

    def replace_if_silent(self) -> None:
        """Kill the child if it shows no life; whose reason is said once, however long it takes to die."""
        if self._replaced or not (reason := self._silence()):
            return
        log.error("%s %s: killing it", self.child.name, reason)
        self._hung_in, self._replaced = self._phase, True
        self.kill()

    def _silence(self) -> str:
        """Return in which way the child is silent, nothing if it is not."""
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
        """Ask the child to stop; it and its children are woken for that, if a signal has stopped them."""
        if self.process is not None:
            self.process.terminate()
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the child and what it started; a later `poll` reaps it, since the driver may keep it for a while."""
        if self.process is not None:
            with suppress(ProcessLookupError):  # all of them have ended
                os.killpg(self.process.pid, signal.SIGKILL)

    def ended(self) -> bool:
        """Take leave of a process that ended; plan the next start. False when there is none."""
        assert self.process is not None
        self.kill()  # what it started may hold its device
        code, self.process = self.process.returncode, None
        os.close(self.pipe)
        if code > 0 and code != TRY_AGAIN and not self.proven:
            log.error("%s cannot start: it ended with %d before its first beat", self.child.name, code)
            return False
        if self._replaced:  # it took its time to hang, and what comes next has no part in that
            self.start_at = self._clock.now
            log.warning("replacing %s", self.child.name)
            return True
        self._rest(lived=self._clock.now - self._started)
        log.warning("%s ended with %d; starting it again in %.1f s", self.child.name, code, self._pause)
        return True

    def _rest(self, lived: float) -> None:
        """Put the next start off, each time for longer, unless the last process lived well."""
        self._pause = 0.5 if lived > HEALTHY_SECONDS else min(max(self._pause * 2, 0.5), LONGEST_PAUSE)
        self.start_at = self._clock.now + self._pause


def _is_stopped(pid: int) -> bool:
    """Say whether a signal has stopped a process, as SIGSTOP does; it may be silent for other reasons, and work."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:  # it has ended
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
