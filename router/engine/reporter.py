"""Progress of a running job, and its cancellation."""

import logging
import time
from collections.abc import Callable, Generator

from sqlalchemy.exc import SQLAlchemyError

from router.engine.heartbeat import Beat
from router.engine.job_timer import JobTimer
from router.engine.previews import Previews
from router.errors import JobCancelled, TimedOut, is_outage, reason
from router.jobs import JobStore
from router.values import Frames, Lease, Phase, Pixels, Preview, Progress

WRITE_SECONDS = 0.1  # between two writes of progress
CHECK_SECONDS = 0.02  # between two checks of the lease
SPAN = {Phase.DOWNLOAD: (0, 0), Phase.LOAD: (0, 0), Phase.STEP: (0, 90), Phase.DECODE: (90, 99)}  # percent of the job
Phases = Callable[[Phase], Callable[..., None]]  # makes the `report` callable of each phase
log = logging.getLogger(__name__)


def heartbeats(beat: Beat) -> Phases:
    """Return the reports of work outside jobs: the supervisor sees the engine alive."""
    return lambda phase: lambda *_, **__: beat(phase)


class Reporter:
    """Makes the `report` callables of one attempt, which may take `seconds`."""

    def __init__(
        self, store: JobStore, lease: Lease, beat: Beat, previews: Previews, timer: JobTimer, *, seconds: float
    ) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._store = store
        self._lease = lease
        self._beat = beat
        self._previews = previews
        self.timer = timer
        self._written = 0.0
        self._shown: tuple[Phase, int, int] | None = None  # the stored progress; the same again checks the lease only
        self._checked = 0.0
        self.current = Phase.LOAD

    def phase(self, phase: Phase) -> Callable[..., None]:
        """Return the `report(done, total, preview=None)` of a phase."""

        def report(done: int, total: int, preview: Preview | None = None) -> None:
            self._report(phase, done, total)
            if preview is not None:
                self._previews.show(preview)

        return report

    def counting(self, frames: Frames) -> Generator[Pixels, None, None]:
        """Yield the frames' chunks and report each; close the backend's generator at the end."""
        report, done = self.phase(Phase.DECODE), 0
        report(0, frames.num_frames)
        try:
            for chunk in self.timer.decoding(iter(frames.pixels)):
                done += len(chunk)
                report(done, frames.num_frames)
                yield chunk
        finally:
            _close(frames)

    def _report(self, phase: Phase, done: int, total: int) -> None:
        changed, self.current = phase is not self.current, phase
        self._beat(phase)
        self.timer.report(phase, done)
        start, end = SPAN[phase]
        percent = start + (end - start) * done // max(total, 1)
        progress = Progress(phase, done, total, percent, self.timer.remaining(phase, done, total))
        if not self._stored(changed, progress):
            raise JobCancelled(f"job {self._lease.job} is no longer this engine's")
        if time.monotonic() - self._began > self._seconds:
            raise TimedOut(
                f"the job was at {done} of {total} in phase {phase} after {self._seconds:g} seconds, the longest that "
                "it may run: ask for fewer steps, fewer frames or a smaller size"
            )

    def _stored(self, changed: bool, progress: Progress) -> bool:
        """Store the progress if due; return False if the lease was lost."""
        now = time.monotonic()
        shown = progress.phase, progress.done, progress.total
        try:
            if changed or (shown != self._shown and now - self._written >= WRITE_SECONDS):
                self._written = self._checked = now
                self._shown = shown
                return self._store.report(self._lease, progress)
            if now - self._checked >= CHECK_SECONDS:
                self._checked = now
                return self._store.holds(self._lease)
        except SQLAlchemyError as error:  # ends no job: to finish one, the lease is checked again
            if not is_outage(error):  # of that the log has a line already
                log.warning("the store did not take the progress: %s", reason(error))
        return True


def _close(frames: Frames) -> None:
    """Close a backend's generator; its errors are logged, as the job has ended already."""
    try:
        if close := getattr(frames.pixels, "close", None):
            close()
    except Exception:
        log.exception("the backend failed to close its frames")
