"""The callers' view of the job store."""

import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, RowMapping

from router.accounting.budgets import Need
from router.errors import KeyReused
from router.jobs import statements as sql
from router.jobs.accounts.budgets import BudgetStore
from router.jobs.change_log import delete_job, log_change
from router.jobs.database import Database
from router.jobs.forecast import Span
from router.jobs.idempotency import HEADER, KEY_SECONDS, Key
from router.jobs.job_filter import ALL_JOBS, JobFilter
from router.jobs.queue_forecast import QueueForecast, QueueForecasts
from router.jobs.queue_limits import NO_LIMITS, QueueLimits, check
from router.jobs.queue_positions import all_positioned, positioned
from router.jobs.rows import job_of, job_row
from router.jobs.scheduling import QueuedJob, SchedulingPolicy, allowance
from router.jobs.scheduling_clock import arrival, current
from router.jobs.work_queue import POLICY, WorkQueue
from router.values import Job, Status

LAST = 2**63 - 1  # the largest number of a row


class JobStore(WorkQueue):
    """The jobs as callers see them; `WorkQueue` has the engines' part."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        max_attempts: int,
        max_queued: int,
        policy: SchedulingPolicy = POLICY,
        budgets: BudgetStore | None = None,
    ) -> None:
        super().__init__(
            database, lease_seconds=lease_seconds, max_attempts=max_attempts, policy=policy, budgets=budgets
        )
        self._max_queued = max_queued
        self._forecasts = QueueForecasts(policy.overtake_seconds, held_back=self._budgets.held_back)

    def check_limits(self, limits: QueueLimits = NO_LIMITS, need: Need | None = None) -> None:
        """Raise `QueueFull`, `RateLimited` or `QuotaExceeded` at a limit or budget; write nothing."""
        with self._db.read() as db:
            self._check(db, limits)
            if need is not None:
                self._budgets.check(db, need)

    def expected_end(self, model: str, priority: int, estimate: float | None) -> float | None:
        """Return the seconds to the end of a job added now; None if unknown.

        `estimate` are the seconds of its own work.
        """
        if estimate is None:
            return None
        with self._db.read() as db:
            due_at = current(db, self._db.instant(db)) + allowance(estimate, self._policy.overtake_seconds)
            new = QueuedJob(LAST, model, priority, due_at, estimate)
            span = self._forecasts.of_new(db, self._seen_since(db), new)
        return span.end if span else None

    def add(
        self, job: Job, key: Key | None = None, limits: QueueLimits = NO_LIMITS, siblings: Sequence[Job] = ()
    ) -> Job:
        """Queue `job` and its siblings, all or none; return it with its position.

        For a repeated request under the same key return the first job and add none. Raises as `check_limits` does.
        """
        with self._db.write() as db:
            row = self._add(db, job, key, limits, siblings)
        with self._db.read() as db:  # after the write: a forecast of a long queue must not keep the store's lock
            return self._positioned(db, row)

    def get(self, job_id: str, owner: str | None) -> Job | None:
        """Return the owner's job with its queue position, or None.

        Here and below an owner of None stands for all owners.
        """
        with self._db.read() as db:
            row = db.execute(sql.GET, {"_job": job_id, "_owner": owner}).mappings().first()
            return self._positioned(db, row) if row is not None else None

    def keyed(self, owner: str, key: Key) -> Job | None:
        """Return the job of the owner's key, None if free; raise `KeyReused` on mismatch."""
        with self._db.read() as db:
            row = _keyed(db, owner, key)
            return self._positioned(db, row) if row is not None else None

    def is_keyed(self, owner: str, name: str) -> bool:
        """Return whether the owner has sent a request under this key."""
        with self._db.read() as db:
            values = {"_owner": owner, "_key": name, "_since": time.time() - KEY_SECONDS}
            return db.execute(sql.KEYED, values).first() is not None

    def page(
        self,
        owner: str | None,
        *,
        after: str | None,
        limit: int,
        newest_first: bool,
        shown: JobFilter = ALL_JOBS,
    ) -> tuple[Job, ...] | None:
        """Return up to `limit` of the owner's jobs in order of creation, or reversed.

        The page starts behind the job `after`, which may be one that is not `shown`; None for an unknown job. A
        deleted job keeps its position, so that a caller can delete page by page.
        """
        with self._db.read() as db:
            edge = LAST if newest_first else 0
            start = edge if after is None else _seq(db, after, owner)
            if start is None:
                return None
            statement = sql.page(owner, newest_first, shown)
            rows = db.execute(statement, {"_seq": start, "_limit": limit}).mappings().all()
            if not any(row["status"] == Status.QUEUED for row in rows):
                return tuple(map(job_of, rows))
            return all_positioned(db, rows, self._forecast(db))

    def cancel(self, job_id: str, owner: str | None) -> Job | None:
        """Cancel an unfinished job and return it; None if it is finished or unknown."""
        return self._change(sql.CANCEL, _job=job_id, _owner=owner, _wall=time.time())

    def delete(self, job_id: str, owner: str | None) -> Job | None:
        """Delete a job in any state and return it; the caller removes its files."""
        row = self._db.change(lambda db: delete_job(db, sql.DELETE, _job=job_id, _owner=owner))
        return job_of(row) if row is not None else None

    def pulse(self) -> Callable[[], int]:
        """Return a function, for one thread, whose number changes with every commit."""
        return self._db.pulse()

    def counts(self) -> Mapping[tuple[str, Status], int]:
        """Return the number of jobs by model and status."""
        with self._db.read() as db:
            return {(model, Status(status)): number for model, status, number in db.execute(sql.COUNT_ALL)}

    def newest(self) -> int:
        """Return the number of the newest change."""
        with self._db.read() as db:
            return db.scalar(sql.NEWEST) or 0

    def changes(self, since: int) -> tuple[int, frozenset[str]]:
        """Return the newest change's number and the jobs changed after `since`."""
        with self._db.read() as db:
            found = db.execute(sql.CHANGES, {"_since": since}).all()
        return max((n for n, _ in found), default=since), frozenset(job for _, job in found)

    def _add(
        self, db: Connection, job: Job, key: Key | None, limits: QueueLimits, siblings: Sequence[Job]
    ) -> RowMapping:
        """Return the row of the first new job, or of the repeated request's."""
        if key is not None:
            if (known := _keyed(db, job.owner, key)) is not None:
                return known
            kept = {"owner": job.owner, "key": key.name, "request": key.request, "job": job.id}
            db.execute(sql.KEEP_KEY, {**kept, "created_at": time.time()})
        self._check(db, limits)
        self._budgets.check(db, Need(job.owner, job.key, 1 + len(siblings), job.estimate, job.price))
        arrived_at = arrival(db, self._db.instant(db))
        rows = []
        for each in (job, *siblings):
            estimate = each.estimate if each.estimate is not None else db.scalar(sql.MEAN_ESTIMATE) or 0.0
            due_at = arrived_at + allowance(estimate, self._policy.overtake_seconds)
            row = {**job_row(each), "arrived_at": arrived_at, "due_at": due_at}
            rows.append(db.execute(sql.ADD, row).mappings().one())
            log_change(db, rows[-1]["version"], each.id)
        return rows[0]

    def _check(self, db: Connection, limits: QueueLimits) -> None:
        check(db, self._max_queued, limits, lambda: self._spans(db))

    def _positioned(self, db: Connection, row: RowMapping) -> Job:
        if row["status"] != Status.QUEUED:
            return job_of(row)
        return positioned(db, row, self._forecast(db))

    def _spans(self, db: Connection) -> Mapping[int, Span]:
        return self._forecast(db).spans

    def _forecast(self, db: Connection) -> QueueForecast:
        return self._forecasts.current(db, self._seen_since(db))


def _seq(db: Connection, job_id: str, owner: str | None) -> int | None:
    this = {"_job": job_id, "_owner": owner}
    known: int | None = db.scalar(sql.SEQ, this)
    return known if known is not None else db.scalar(sql.DELETED_SEQ, this)


def _keyed(db: Connection, owner: str, key: Key) -> RowMapping | None:
    wanted = {"_owner": owner, "_key": key.name, "_since": time.time() - KEY_SECONDS}
    row = db.execute(sql.KEYED, wanted).mappings().first()
    if row is None:
        return None
    if row["request"] != key.request:
        raise KeyReused(
            f"{HEADER} {key.name!r} was used for another request; a new request needs a new key", param=HEADER
        )
    return row
