"""The engines' view of the job store: jobs are leased, not popped."""

import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Executable, RowMapping

from router.jobs import claims
from router.jobs import statements as sql
from router.jobs.accounts import attempts
from router.jobs.accounts.budgets import BudgetStore
from router.jobs.change_log import change_job, log_change
from router.jobs.database import Database, Instant
from router.jobs.idempotency import KEY_SECONDS
from router.jobs.lost_jobs import take_back
from router.jobs.rows import dump, job_of
from router.jobs.scheduling import ClaimRequest, SchedulingPolicy, allowance
from router.values import Artifact, Failure, Job, Lease, Outcome, Phase, Progress, Usage

KEPT_CHANGES = 100_000
POLICY = SchedulingPolicy()
NOTHING = Usage()


class WorkQueue:
    """The jobs as engines see them; without its lease a write does nothing."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        max_attempts: int,
        policy: SchedulingPolicy = POLICY,
        budgets: BudgetStore | None = None,
    ) -> None:
        self._db = database
        self._budgets = budgets or BudgetStore(database)
        self._policy = policy
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts

    def claim(self, engine: str, request: ClaimRequest, only: str | None = None) -> tuple[Lease, Job] | None:
        """Lease the next queued job for `request`, or the job `only`; None without one.

        None also for an engine that drains.
        """
        wanted = {"_models": list(request.models)}
        with self._db.read() as db:  # mostly nothing: look before taking the write lock
            if db.scalar(sql.ANY, {**wanted, "_engine": engine}) is None:
                return None
            held_back = self._budgets.held_back(db) if only is None else ()
        # after a power cut no engine holds it, whatever the row says; one of another machine than the store's does
        with self._db.write(durable=self._db.is_shared, announced=False) as db:
            this = self._db.instant(db)
            lease = {"_engine": engine, **self._term(this)}
            if only is not None:
                job = change_job(db, sql.CLAIM_ONE, **wanted, **lease, _wall=time.time(), _job=only)
            else:
                seq = claims.take_next(db, engine, request, self._policy, self._alive(this), held_back)
                job = change_job(db, sql.CLAIM, **lease, _wall=time.time(), _seq=seq) if seq is not None else None
            if job is not None:
                attempts.claimed(db, job, engine, this)
        return (Lease(job.id, engine, job.attempt), job) if job else None

    def renew(self, lease: Lease) -> bool:
        """Renew the lease for another term."""

        def renew(db: Connection) -> bool:
            return db.execute(sql.RENEW, {**_named(lease), **self._term(self._db.instant(db))}).first() is not None

        return self._db.change(renew, durable=False)

    def holds(self, lease: Lease) -> bool:
        """Return whether the engine still holds the lease."""
        with self._db.read() as db:
            return db.execute(sql.HOLDS, _named(lease)).first() is not None

    def report(self, lease: Lease, progress: Progress) -> bool:
        """Store the job's progress; its own work begins when its model is loaded."""
        # callers of a shared store go on after its crash: a change number that they have seen is never given again
        with self._db.write(durable=self._db.is_shared, announced=False) as db:
            version = db.scalar(sql.REPORT, {**_named(lease), "_progress": dump(progress)})
            if version is None:
                return False
            log_change(db, version, lease.job)
            if progress.phase in (Phase.STEP, Phase.DECODE):
                attempts.report(db, lease.job, lease.attempt, self._db.instant(db))
            return True

    def finish(
        self, lease: Lease, artifact: Artifact, warnings: tuple[str, ...] = (), used: Usage = NOTHING
    ) -> Job | None:
        """Complete the job; None without the lease: the caller then removes its file.

        The used work, here and below, is given without its cost. It is booked once, as that of a cancelled job where
        the job was cancelled or deleted meanwhile; not at all where the attempt was lost before.
        """
        result = {"_artifact": dump(artifact), "_warnings": dump(warnings)}
        return self._end(lease, sql.FINISH, Outcome.COMPLETED, used, **result)

    def fail(self, lease: Lease, failure: Failure, used: Usage = NOTHING, cause: str | None = None) -> Job | None:
        """Fail the job with its error; `cause` is for administrators."""
        return self._end(lease, sql.FAIL, Outcome.FAILED, used, _failure=dump(failure), _cause=cause)

    def book(self, lease: Lease, used: Usage) -> None:
        """Book the work of a cancelled or deleted job, not of a held one."""

        def book(db: Connection) -> None:
            if db.execute(sql.HOLDS, _named(lease)).first() is None:
                attempts.cancel(db, lease.job, lease.attempt, used)

        self._db.change(book)

    def release(self, lease: Lease) -> Job | None:
        """Return the job to the queue; the attempt does not count."""

        def release(db: Connection) -> Job | None:
            job = change_job(db, sql.RELEASE, **_named(lease))
            if job is not None:
                attempts.lose(db, lease.job, lease.attempt)
            return job

        return self._db.change(release)

    def expire(self) -> tuple[Job, ...]:
        """Requeue jobs with an expired lease, or fail them at `max_attempts`; return all.

        Also book the reported work of cancelled jobs whose engines are gone.
        """
        with self._db.read() as db:  # nearly always nothing: look before taking the write lock
            this = self._db.instant(db)
            lost = db.execute(sql.FIND_LOST, {"_boot": this.boot, "_now": this.now}).mappings().all()
            left = attempts.abandoned(db, self._alive(this))
        for job, attempt in left:
            self._db.change(partial(attempts.cancel, job=job, attempt=attempt))
        return self._take_back(lost)

    def unestimated(self) -> tuple[Job, ...]:
        """Return the queued jobs without an estimate."""
        return tuple(map(job_of, self._db.rows(sql.FIND_UNESTIMATED)))

    def estimate(self, seconds: Mapping[str, float]) -> None:
        """Set the expected seconds of queued jobs without an estimate, by id."""
        rows = [
            {"_job": job, "_estimate": each, "_allowance": allowance(each, self._policy.overtake_seconds)}
            for job, each in seconds.items()
        ]
        if rows:
            self._db.change(lambda db: db.execute(sql.ESTIMATE, rows), durable=False)

    def unfinished(self) -> tuple[tuple[str, int | None], ...]:
        """Return the models of the unfinished jobs, each with the revision at acceptance."""
        return tuple((row["model"], row["revision"]) for row in self._db.rows(sql.UNFINISHED_MODELS))

    def strand(self, models: Collection[str]) -> tuple[Job, ...]:
        """Fail and return the queued jobs of models not in `models`."""
        # no engine will ever claim them
        with self._db.read() as db:
            stranded = db.scalars(sql.FIND_STRANDED, {"_models": list(models)}).all()
        failure = dump(Failure("load_failed", "the model of this job is not served any more"))
        failed = [self._change(sql.FAIL_STRANDED, _job=job, _failure=failure, _wall=time.time()) for job in stranded]
        return tuple(job for job in failed if job)

    def inherit(self, device: str, hung: Phase | None = None, *, lock_domain: str = "") -> tuple[Job, ...]:
        """Expire the leases of a device's former engines at once; requires the device's lock.

        `lock_domain` is that of the lock, as in `EngineState`. `hung` is the phase of the last engine's hang, None
        without one.
        """
        with self._db.read() as db:
            left = db.execute(sql.FIND_INHERITED, {"_device": device, "_lock_domain": lock_domain}).mappings().all()
        return self._take_back(left, hung)

    def prune(self) -> None:
        """Delete old change-log entries and old idempotency keys."""
        with self._db.write(durable=False) as db:
            db.execute(sql.PRUNE, {"_kept": KEPT_CHANGES})
            db.execute(sql.PRUNE_KEYS, {"_since": time.time() - KEY_SECONDS})

    def _change(self, statement: Executable, **parameters: Any) -> Job | None:
        return self._db.change(lambda db: change_job(db, statement, **parameters))

    def _end(self, lease: Lease, statement: Executable, outcome: Outcome, used: Usage, **result: Any) -> Job | None:
        """End a job and book its work, as cancelled without the lease."""

        def end(db: Connection) -> Job | None:
            attempt = attempts.take(db, lease.job, lease.attempt)
            priced = attempt.priced(used) if attempt else used
            job = change_job(db, statement, **_named(lease), **result, _usage=dump(priced), _wall=time.time())
            if attempt is not None:
                attempt.book(db, outcome if job else Outcome.CANCELLED, priced)
            return job

        return self._db.change(end)

    def _take_back(self, lost: Iterable[RowMapping], hung: Phase | None = None) -> tuple[Job, ...]:
        again = partial(take_back, max_attempts=self._max_attempts, hung=hung)
        taken = [self._db.change(partial(again, found=found)) for found in lost]
        return tuple(job for job in taken if job)

    def _term(self, this: Instant) -> dict[str, Any]:
        """Return the end of a lease written at this instant."""
        return {"_until": this.now + self._lease_seconds, "_boot": this.boot}

    def _alive(self, this: Instant) -> Instant:
        """Return the oldest heartbeat of an engine that lives at this instant."""
        return this.before(self._lease_seconds)

    def _seen_since(self, db: Connection) -> Instant:
        return self._alive(self._db.instant(db))


def _named(lease: Lease) -> dict[str, Any]:
    return {"_job": lease.job, "_engine": lease.engine, "_attempt": lease.attempt}
