"""The forecast of the stored queue, once a second while it is long."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Row, column, text

from router.jobs.database import Instant
from router.jobs.forecast import BusyEngine, Span, forecast
from router.jobs.rows import progress_of
from router.jobs.scheduling import QueuedJob
from router.runtime import clock
from router.values import Phase

KEPT_SECONDS = 1.0  # a forecast serves for
SHORT = 100  # jobs: a shorter queue is simulated after each change, in about a millisecond
UNKNOWN_SECONDS = 10.0  # of a job before any estimate
QUEUE = text("""
    SELECT seq, model, priority, due_at, estimate FROM jobs WHERE status = 'queued'
    ORDER BY model, priority DESC, due_at, seq
""")
RUNNING = text("SELECT id, engine, model, estimate, progress, started_at FROM jobs WHERE status = 'in_progress'")
# changes of jobs, heartbeats of engines, and which of these drain; with named columns it costs each poll of a job less
STATE = text("""
    SELECT (SELECT max(n) FROM changes) AS changes, sum(seen) AS seen, sum(CASE WHEN draining THEN seen END) AS draining
    FROM engines WHERE boot = :boot AND seen > :since
""").columns(column("changes"), column("seen"), column("draining"))
ENGINES = text("SELECT id, job, models, resident, loads, draining FROM engines WHERE boot = :boot AND seen > :since")


@dataclass(frozen=True)
class _Running:
    """A running job; `total` and `left` are seconds, in all and to its end.

    `loads` says that its model may not be loaded yet, and that `left` is without the load.
    """

    id: str
    engine: str | None
    model: str
    total: float | None
    left: float | None
    loads: bool = False


@dataclass(frozen=True)
class QueueForecast:
    """When the queued jobs will run, and why others are held back, by `seq`.

    `state` is that of the store `at` a time of the boot's clock.
    """

    state: Row[Any]
    at: float
    spans: Mapping[int, Span]
    held_back: Mapping[int, str]

    def serves(self, state: Row[Any], now: float) -> bool:
        return now - self.at < KEPT_SECONDS and (state == self.state or len(self.spans) + len(self.held_back) > SHORT)


class QueueForecasts:
    """The forecasts of one process; safe to use from many threads."""

    def __init__(
        self,
        overtake_seconds: float,
        now: Callable[[], float] = clock.now,
        held_back: Callable[[Connection], Mapping[int, str]] = lambda db: {},
    ) -> None:
        self._overtake_seconds = overtake_seconds
        self._held_back = held_back
        self._now = now
        self._lock = Lock()  # callers that ask at once wait for one simulation
        self._made: QueueForecast | None = None

    def read(self, db: Connection, seen_since: Instant) -> Mapping[int, Span]:
        """Return when each queued job will run, by `seq`.

        Engines seen after `seen_since` are alive.
        """
        return self.current(db, seen_since).spans

    def of_new(self, db: Connection, seen_since: Instant, job: QueuedJob) -> Span | None:
        """Return the span of a job added now; None without an engine for it."""
        held_back = self._held_back(db)
        return _forecast(db, seen_since, self._overtake_seconds, held_back, [job]).get(job.seq)

    def current(self, db: Connection, seen_since: Instant) -> QueueForecast:
        """Return the forecast, with the jobs that are held back."""
        with self._lock:
            state, now = db.execute(STATE, _alive(seen_since)).one(), self._now()
            if self._made is None or not self._made.serves(state, now):
                held_back = self._held_back(db)  # they will not run for now: their remaining time is not known
                spans = _forecast(db, seen_since, self._overtake_seconds, held_back)
                self._made = QueueForecast(state, now, spans, held_back)
            return self._made


def _forecast(
    db: Connection,
    seen_since: Instant,
    overtake_seconds: float,
    held_back: Collection[int],
    added: Sequence[QueuedJob] = (),
) -> dict[int, Span]:
    queue = [job for row in db.execute(QUEUE) if (job := QueuedJob(*row)).seq not in held_back]
    if added:  # the store's are in this order
        queue = sorted([*queue, *added], key=lambda job: (job.model, -job.priority, job.due_at, job.seq))
    now = time.time()
    running = [_running(row, now) for row in db.execute(RUNNING)]
    unknown = _mean([job.estimate for job in queue]) or _mean([job.total for job in running]) or UNKNOWN_SECONDS
    engines = _engines(db, seen_since, running, unknown)
    if engines is None:
        engines = [_one_for_all(queue, running, unknown)]
    return forecast(queue, engines, unknown=unknown, overtake_seconds=overtake_seconds)


def _engines(
    db: Connection, seen_since: Instant, running: Sequence[_Running], unknown: float
) -> list[BusyEngine] | None:
    """Return the living engines that claim jobs; None if no engine lives."""
    found = [row for row in db.execute(ENGINES, _alive(seen_since)) if row.models != "[]"]
    jobs = {job.engine: job for job in running}
    # while all of them drain nothing more is claimed, and no end is known
    return [_engine(row, jobs.get(row.id), unknown) for row in found if not row.draining] if found else None


def _engine(row: Row[Any], job: _Running | None, unknown: float) -> BusyEngine:
    models, loaded, loads = json.loads(row.models), json.loads(row.resident), json.loads(row.loads)
    if job is None:
        return BusyEngine(models, loaded, loads)
    busy = _left([job], unknown)
    if job.model not in loaded:
        busy += loads.get(job.model, 0.0) if job.loads else 0.0
        loaded += [job.model] if row.job == job.id else []  # what leaves for it has left before this heartbeat
    return BusyEngine(models, loaded, loads, busy, job.model)


def _alive(seen_since: Instant) -> dict[str, Any]:
    return {"boot": seen_since.boot, "since": seen_since.now}


def _one_for_all(queue: Sequence[QueuedJob], running: Sequence[_Running], unknown: float) -> BusyEngine:
    return BusyEngine({job.model for job in queue}, busy=_left(running, unknown))


def _left(running: Sequence[_Running], unknown: float) -> float:
    return sum(unknown if job.left is None else job.left for job in running)


def _running(row: Row[Any], now: float) -> _Running:
    progress, this = progress_of(row.progress), (row.id, row.engine, row.model)
    if progress is not None and progress.remaining is not None:
        return _Running(*this, row.estimate, progress.remaining)
    loads = progress is None or progress.phase in (Phase.DOWNLOAD, Phase.LOAD)
    if row.estimate is not None:
        return _Running(*this, row.estimate, row.estimate, loads)
    if progress is None or not progress.percent or row.started_at is None:
        return _Running(*this, None, None, loads)
    total = max(now - row.started_at, 0) * 100 / progress.percent
    return _Running(*this, total, total * (100 - progress.percent) / 100)


def _mean(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return fmean(known) if known else None
