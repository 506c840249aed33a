"""The engines' half of the store: jobs are leased, not popped."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Executable

from router.errors import EngineLost, TimedOut
from router.jobs import claims
from router.jobs import statements as sql
from router.jobs.change_log import changed, log
from router.jobs.database import Database
from router.jobs.idempotency import KEY_SECONDS
from router.jobs.rows import dump
from router.jobs.scheduling import ClaimRequest, SchedulingPolicy
from router.runtime import clock
from router.values import Artifact, Failure, Job, Lease, Phase, Progress

KEPT_CHANGES = 100_000
RULES = SchedulingPolicy()


class Leases:
    """Every write of an engine names its lease and does nothing (returns False or None) when the lease was lost."""

    def __init__(
        self, database: Database, *, lease_seconds: float, max_attempts: int, rules: SchedulingPolicy = RULES
    ) -> None:
        self._db = database
        self._rules = rules
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts

    def claim(self, engine: str, offer: ClaimRequest, only: str | None = None) -> tuple[Lease, Job] | None:
        """Lease the queued job whose turn it is, of those for `offer` (or the job `only`); None when there is none."""
        wanted = {"_models": list(offer.models)}
        with self._db.read() as db:  # mostly nothing: look before taking the write lock
            if db.scalar(sql.ANY, wanted) is None:
                return None
        with self._db.write(durable=False) as db:  # after a power cut no engine holds it, whatever the row says
            lease = {"_engine": engine, **self._term()}
            if only is not None:
                job = changed(db, sql.CLAIM_ONE, **wanted, **lease, _wall=time.time(), _job=only)
            else:
                seq = claims.take_turn(db, engine, offer, self._rules, self._seen_since())
                job = changed(db, sql.CLAIM, **lease, _wall=time.time(), _seq=seq) if seq is not None else None
        return (Lease(job.id, engine, job.attempt), job) if job else None

    def renew(self, lease: Lease) -> bool:
        """Hold the lease for another term."""

        def renew(db: Connection) -> bool:
            return db.execute(sql.RENEW, {**_named(lease), **self._term()}).first() is not None

        return self._db.change(renew, durable=False)

    def holds(self, lease: Lease) -> bool:
        """Say whether the job is still this engine's to work on."""
        with self._db.read() as db:
            return db.execute(sql.HOLDS, _named(lease)).first() is not None

    def report(self, lease: Lease, progress: Progress) -> bool:
        """Store how far the job is."""
        with self._db.write(durable=False) as db:
            version = db.scalar(sql.REPORT, {**_named(lease), "_progress": dump(asdict(progress))})
            if version is not None:
                log(db, version, lease.job)
            return version is not None

    def finish(self, lease: Lease, artifact: Artifact, warnings: tuple[str, ...] = ()) -> Job | None:
        """Complete the job; None when the lease was lost, and then the file is the caller's to remove."""
        result = {"_artifact": dump(asdict(artifact)), "_warnings": dump(list(warnings))}
        return self._change(sql.FINISH, **_named(lease), **result, _wall=time.time())

    def fail(self, lease: Lease, failure: Failure) -> Job | None:
        """End the job with its error."""
        return self._change(sql.FAIL, **_named(lease), _failure=dump(asdict(failure)), _wall=time.time())

    def release(self, lease: Lease) -> Job | None:
        """Give the job back, as if it had not been tried."""
        return self._change(sql.RELEASE, **_named(lease))

    def expire(self) -> tuple[Job, ...]:
        """Queue the jobs again whose lease ran out, fail those that lost engines enough; return all of them."""
        now = {"_boot": clock.boot(), "_now": clock.now()}
        with self._db.read() as db:  # nearly always nothing: look before taking the write lock
            lost = db.execute(sql.FIND_LOST, now).all()
        return self._take_back(lost)

    def unfinished(self) -> tuple[tuple[str, int | None], ...]:
        """Return the models of the unfinished jobs, each with the revision that accepted them."""
        with self._db.read() as db:
            return tuple((row.model, row.revision) for row in db.execute(sql.UNFINISHED_MODELS))

    def strand(self, models: Collection[str]) -> tuple[Job, ...]:
        """Fail the queued jobs whose model is none of `models`: nobody will ever claim them; return them."""
        with self._db.read() as db:
            stranded = db.scalars(sql.FIND_STRANDED, {"_models": list(models)}).all()
        failure = dump(asdict(Failure("load_failed", "the model of this job is not served any more")))
        failed = [self._change(sql.FAIL_STRANDED, _job=job, _failure=failure, _wall=time.time()) for job in stranded]
        return tuple(job for job in failed if job)

    def inherit(self, device: str, hung: Phase | None = None) -> tuple[Job, ...]:
        """Take back at once, as `expire` does, what a device's former engines left; for whoever holds its lock.

        `hung` is the phase in which the last of them hung, None if it did not.
        """
        with self._db.write() as db:
            left = db.execute(sql.INHERIT, {"_device": device}).all()
        return self._take_back(left, hung)

    def prune(self) -> None:
        """Forget old changes, since nobody is that far behind, and old keys."""
        with self._db.write(durable=False) as db:
            db.execute(sql.PRUNE, {"_kept": KEPT_CHANGES})
            db.execute(sql.PRUNE_KEYS, {"_since": time.time() - KEY_SECONDS})

    def _change(self, statement: Executable, **parameters: Any) -> Job | None:
        """Change one row if it still fits, and log that; return the job as it then is."""
        return self._db.change(lambda db: changed(db, statement, **parameters))

    def _take_back(self, lost: Iterable[tuple[str, int]], hung: Phase | None = None) -> tuple[Job, ...]:
        """Queue jobs again, or fail them, whose lease ran out; each comes as its id and the engines it lost before."""
        taken = []
        for job_id, before in lost:
            this = {"_boot": clock.boot(), "_now": clock.now(), "_job": job_id}
            if before + 1 < self._max_attempts:
                taken.append(self._change(sql.REQUEUE_LOST, **this))
            else:
                failure = _lost(before + 1, hung)
                taken.append(self._change(sql.FAIL_LOST, **this, _failure=failure, _wall=time.time()))
        return tuple(job for job in taken if job)

    def _term(self) -> dict[str, Any]:
        """Return until when a lease holds that is written now; asked after the wait for the store's lock."""
        return {"_until": clock.now() + self._lease_seconds, "_boot": clock.boot()}

    def _seen_since(self) -> float:
        """Return when an engine that lives has given a sign of it."""
        return clock.now() - self._lease_seconds


def _named(lease: Lease) -> dict[str, Any]:
    return {"_job": lease.job, "_engine": lease.engine, "_attempt": lease.attempt}


def _lost(engines: int, hung: Phase | None) -> str:
    """Return why a job failed that lost so many engines, the last of them hung in that phase or killed."""
    what = f"hung in phase {hung} of this job and was replaced" if hung else "was lost while it ran this job"
    code = TimedOut.code if hung else EngineLost.code
    message = f"the engine {what}; engines lost so: {engines}, as many as a job may cost, so it is not tried again"
    return dump(asdict(Failure(code, message)))
