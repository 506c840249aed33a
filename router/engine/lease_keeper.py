"""The thread that renews an engine's lease and heartbeat while its backend works."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from sqlalchemy.exc import SQLAlchemyError

from router.errors import EngineLost, TimedOut, is_outage
from router.runtime import clock
from router.runtime.threads import log_and_go_on
from router.system import System
from router.values import EngineState, Lease, Status

HARD_STOP_SECONDS = 6.0
GAP_SECONDS = 5.0  # longer gaps between two checks do not count: the machine may have slept
LOOK_SECONDS = 1.0  # a lost job runs again within this after its lease
GRACE_ROUNDS = 2  # without expiry after a sleep or an outage: all engines go on at once, with expired leases
log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews the lease of the running job; gives it back when the engine stops.

    It renews every `settings.renew_seconds`, and calls `lost` when the lease was lost: the job was cancelled, deleted,
    or leased to another engine.
    """

    def __init__(
        self,
        system: System,
        state: Callable[[], EngineState],
        lost: Callable[[], None] = lambda: None,
        *,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._jobs = system.jobs
        self._engines = system.engines
        self._plugins = system.plugins
        self._seconds = system.settings.renew_seconds
        self._longest = max(system.settings.stall_idle_seconds, 3 * self._seconds)
        self._state = state
        self._lost = lost
        self._lease: Lease | None = None
        self._lock = Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # reentrant, so that a signal handler may use it
        self._gone = Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)
        self._now = now
        self._grace = 0  # rounds
        self._rounds = 0
        self._seen = (-1, 0.0)
        self._clock = clock.AwakeClock(max_tick=GAP_SECONDS)
        self.stopping = False

    def start(self) -> None:
        self._engines.heartbeat(self._state())
        self._thread.start()

    def stop(self) -> None:
        """Ask the engine to stop; safe in a signal handler."""
        self.stopping = True
        self._wake.put(None)

    def hold(self, lease: Lease | None) -> None:
        """Renew this lease from now on, or none; release it if the engine stops."""
        with self._lock:
            self._lease = lease
            if self.stopping:
                self._give_back()

    def gone(self) -> None:
        """Let the thread end: the engine has stopped by itself."""
        self._gone.set()

    def check(self) -> None:
        """End this process if the keeper's thread hangs, such as in a listener."""
        self._clock.tick()
        rounds, since = self._seen
        if rounds != self._rounds or self._thread.ident is None or self.stopping:
            self._seen = (self._rounds, self._clock.now)
        elif self._clock.now - since > self._longest:
            log.critical("the keeper of the lease has done nothing for %.0f s: ending this engine", self._longest)
            os._exit(1)  # a lease that nothing renews would go to another engine while this one works on

    def _run(self) -> None:
        while not self.stopping:
            self._safely(self._keep)
            self._rounds += 1
            self._rest()
        with log_and_go_on("the keeper of the lease, while it gave that back", rest=0):
            with self._lock:
                self._give_back()
            self._engines.retire(self._state().id)
        if not self._gone.wait(HARD_STOP_SECONDS):
            log.warning("the backend did not stop within %.0f s: ending the process", HARD_STOP_SECONDS)
            os._exit(0)

    def _safely(self, do: Callable[[], None]) -> None:
        with log_and_go_on("the keeper of the lease", rest=0):
            try:
                do()
            except SQLAlchemyError as error:
                if is_outage(error):
                    self._grace = GRACE_ROUNDS
                raise

    def _rest(self) -> None:
        """Wait for the next round, and look for lost jobs every `LOOK_SECONDS`."""
        left = self._seconds
        while left > 0 and self._sleep(min(left, LOOK_SECONDS)):
            left -= LOOK_SECONDS
            if left > 0 and not self._grace:
                self._safely(self._take_back)

    def _sleep(self, seconds: float) -> bool:
        """Return whether the time has passed, and not much more."""
        before = self._now()
        with suppress(Empty):
            self._wake.get(timeout=seconds)
            return False
        is_late = self._now() - before > seconds + GAP_SECONDS
        if is_late:
            self._grace = GRACE_ROUNDS
        return not is_late

    def _take_back(self) -> None:
        for job in self._jobs.expire():
            self._plugins.announce(job)

    def _keep(self) -> None:
        with self._lock:
            if self._lease is not None and not self._jobs.renew(self._lease):
                self._report_loss(self._lease)
                self._lease = None
        if self._grace:
            self._grace -= 1
        else:
            self._take_back()
        self._engines.heartbeat(self._state())
        self._jobs.prune()

    def _report_loss(self, lease: Lease) -> None:
        """Report the loss, unless this engine has ended the job itself."""
        # this engine's own `finish` or `fail` also ends the lease, just before it is dropped here
        job = self._jobs.get(lease.job, None)
        failure = job.failure.code if job is not None and job.failure is not None else None
        failed_here = failure is not None and failure not in (EngineLost.code, TimedOut.code)
        if failed_here or (job is not None and job.status is Status.COMPLETED and job.attempt == lease.attempt):
            return
        log.info("lost the lease of job %s", lease.job, extra={"job": lease.job})
        self._lost()

    def _give_back(self) -> None:
        """Release the lease; the caller holds the lock."""
        lease, self._lease = self._lease, None
        if lease is not None and (job := self._jobs.release(lease)):
            log.info("gave job %s back to the queue", lease.job, extra={"job": lease.job})
            self._plugins.announce(job)
