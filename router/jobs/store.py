"""Jobs are leased, not popped: every verb that the two halves share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Executable, RowMapping

from router import clock
from router.errors import EngineLost, KeyReused, QueueFull
from router.idempotency import HEADER, Key
from router.jobs import statements as sql
from router.jobs.database import Database
from router.jobs.rows import dump, job_of, job_row
from router.values import Artifact, Failure, Job, Lease, Progress, Status

KEPT_CHANGES = 100_000
KEY_SECONDS = 24 * 3600.0
LAST = 2**63 - 1  # the largest number of a row


class JobStore:
    """Every write of an engine names its lease and does nothing (returns False or None) when the lease was lost."""

    def __init__(self, database: Database, *, lease_seconds: float, max_attempts: int, max_queued: int) -> None:
        self._db = database
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._max_queued = max_queued

    # The web half

    def check_room(self) -> None:
        """Raise `QueueFull` when no more jobs are taken; writes nothing."""
        with self._db.read() as db:
            self._require_room(db.execute(sql.COUNT_QUEUED).scalar_one())

    def add(self, job: Job, key: Key | None = None) -> Job:
        """Queue `job` and return it as stored, with its place in the queue; raise `QueueFull` when there is no room.

        Under a key that the owner has used for the same request before, return that job and add none.
        """
        with self._db.write() as db:
            if key is not None:
                if (known := _keyed(db, job.owner, key)) is not None:
                    return known
                kept = {"owner": job.owner, "key": key.name, "request": key.request, "job": job.id}
                db.execute(sql.KEEP_KEY, {**kept, "created_at": time.time()})
            row = db.execute(sql.ADD, job_row(job)).mappings().one()
            _log(db, row["version"], job.id)
            ahead = db.execute(sql.AHEAD, {"_seq": row["seq"]}).scalar_one()
            self._require_room(ahead)
            return job_of(row, ahead)

    def get(self, job_id: str, owner: str) -> Job | None:
        """Return the owner's job, with its place in the queue while it waits; None if there is none."""
        with self._db.read() as db:
            row = db.execute(sql.GET, {"_job": job_id, "_owner": owner}).mappings().first()
            return _placed(db, row) if row is not None else None

    def keyed(self, owner: str, key: Key) -> Job | None:
        """Return the job that the owner's key stands for, None if it is free; raise `KeyReused` for another request."""
        with self._db.read() as db:
            return _keyed(db, owner, key)

    def page(self, owner: str, *, after: str | None, limit: int, newest_first: bool) -> tuple[Job, ...] | None:
        """Return up to `limit` of the owner's jobs in the order in which they were added, or the reverse.

        The first is the one that follows the job `after`; None if there never was such a job. One that was
        deleted meanwhile still holds its place, so that whoever deletes page by page comes to the end.
        """
        with self._db.read() as db:
            page, edge = (sql.OLDER, LAST) if newest_first else (sql.NEWER, 0)
            place = edge if after is None else _place(db, after, owner)
            if place is None:
                return None
            rows = db.execute(page, {"_owner": owner, "_place": place, "_limit": limit}).mappings().all()
            return tuple(_placed(db, row) for row in rows)

    def cancel(self, job_id: str, owner: str) -> Job | None:
        """Cancel an unfinished job and return it; None if it has finished or is not there."""
        return self._change(sql.CANCEL, _job=job_id, _owner=owner, _wall=time.time())

    def delete(self, job_id: str, owner: str) -> Job | None:
        """Forget a job in any state and return what it was; its files are the caller's to remove."""
        with self._db.write() as db:
            row = db.execute(sql.DELETE, {"_job": job_id, "_owner": owner}).mappings().first()
            if row is None:
                return None
            _log(db, db.execute(sql.NEWEST).scalar_one() + 1, job_id, row["seq"])
            return job_of(row)

    def pulse(self) -> Callable[[], int]:
        """Return a function, for the thread that asked, whose number moves with every change; it is no query."""
        return self._db.pulse()

    def newest(self) -> int:
        """Return the number of the newest change."""
        with self._db.read() as db:
            return db.scalar(sql.NEWEST) or 0

    def changes(self, since: int) -> tuple[int, frozenset[str]]:
        """Return the newest change's number and the jobs changed after `since`: one cheap query."""
        with self._db.read() as db:
            found = db.exec_driver_sql("SELECT n, job FROM changes WHERE n > ?", (since,)).all()
        return max((n for n, _ in found), default=since), frozenset(job for _, job in found)

    # The engine half

    def claim(self, engine: str, models: Collection[str], only: str | None = None) -> tuple[Lease, Job] | None:
        """Lease the oldest queued job for one of `models` (or the job `only`); None when there is none."""
        wanted = {"_models": list(models)}
        with self._db.read() as db:  # mostly nothing: look before taking the write lock
            if db.scalar(sql.OLDEST, wanted) is None:
                return None
        lease = {"_engine": engine, "_boot": clock.boot(), "_until": clock.now() + self._lease_seconds}
        which = (sql.CLAIM, {}) if only is None else (sql.CLAIM_ONE, {"_job": only})
        job = self._change(which[0], **wanted, _wall=time.time(), **lease, **which[1])
        return (Lease(job.id, engine, job.attempt), job) if job else None

    def renew(self, lease: Lease) -> bool:
        """Hold the lease for another term."""
        term = {"_until": clock.now() + self._lease_seconds, "_boot": clock.boot()}
        with self._db.write() as db:
            return db.execute(sql.RENEW, {**_named(lease), **term}).first() is not None

    def holds(self, lease: Lease) -> bool:
        """Say whether the job is still this engine's to work on."""
        with self._db.read() as db:
            return db.execute(sql.HOLDS, _named(lease)).first() is not None

    def report(self, lease: Lease, progress: Progress) -> bool:
        """Store how far the job is."""
        with self._db.write() as db:
            version = db.scalar(sql.REPORT, {**_named(lease), "_progress": dump(asdict(progress))})
            if version is not None:
                _log(db, version, lease.job)
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
        changed = []
        for job_id, before in lost:
            this = {**now, "_job": job_id}
            if before + 1 < self._max_attempts:
                changed.append(self._change(sql.REQUEUE_LOST, **this))
            else:
                changed.append(self._change(sql.FAIL_LOST, **this, _failure=_lost(before + 1), _wall=time.time()))
        return tuple(job for job in changed if job)

    def strand(self, models: Collection[str]) -> tuple[Job, ...]:
        """Fail the queued jobs whose model is none of `models`: nobody will ever claim them; return them."""
        with self._db.read() as db:
            stranded = db.scalars(sql.FIND_STRANDED, {"_models": list(models)}).all()
        failure = dump(asdict(Failure("load_failed", "the model of this job is not served any more")))
        failed = [self._change(sql.FAIL_STRANDED, _job=job, _failure=failure, _wall=time.time()) for job in stranded]
        return tuple(job for job in failed if job)

    def inherit(self, device: str) -> None:
        """Let the leases of a device's former engines run out now; for whoever holds the device's lock."""
        with self._db.write() as db:
            db.execute(sql.INHERIT, {"_device": device})

    def prune(self) -> None:
        """Forget old changes, since nobody is that far behind, and old keys."""
        with self._db.write() as db:
            db.execute(sql.PRUNE, {"_kept": KEPT_CHANGES})
            db.execute(sql.PRUNE_KEYS, {"_since": time.time() - KEY_SECONDS})

    def _require_room(self, queued: int) -> None:
        if queued >= self._max_queued:
            raise QueueFull(
                f"the queue holds {queued} jobs, its limit is {self._max_queued}; try again later",
                headers=(("retry-after", "10"),),
            )

    def _change(self, statement: Executable, **parameters: Any) -> Job | None:
        """Change one row if it still fits, and log that; return the job as it then is."""
        with self._db.write() as db:
            row = db.execute(statement, parameters).mappings().first()
            if row is None:
                return None
            _log(db, row["version"], row["id"])
            return job_of(row)


def _place(db: Connection, job_id: str, owner: str) -> int | None:
    """Return where a job stands, or stood before it was deleted; None if there never was one."""
    known: int | None = db.scalar(sql.PLACE, {"_job": job_id, "_owner": owner})
    return known if known is not None else db.scalar(sql.DELETED_PLACE, {"_job": job_id})


def _placed(db: Connection, row: RowMapping) -> Job:
    """Return the job of a row, with its place in the queue while it waits."""
    return job_of(row, db.scalar(sql.AHEAD, {"_seq": row["seq"]}) if row["status"] == Status.QUEUED else None)


def _log(db: Connection, number: int, job_id: str, deleted: int | None = None) -> None:
    db.execute(sql.LOG, {"n": number, "job": job_id, "seq": deleted})


def _named(lease: Lease) -> dict[str, Any]:
    return {"_job": lease.job, "_engine": lease.engine, "_attempt": lease.attempt}


def _lost(attempts: int) -> str:
    message = f"the engine that ran this job was lost, {attempts} times; it is not tried again"
    return dump(asdict(Failure(EngineLost.code, message)))


def _keyed(db: Connection, owner: str, key: Key) -> Job | None:
    wanted = {"_owner": owner, "_key": key.name, "_since": time.time() - KEY_SECONDS}
    row = db.execute(sql.KEYED, wanted).mappings().first()
    if row is None:
        return None
    if row["request"] != key.request:
        raise KeyReused(
            f"{HEADER} {key.name!r} was used for another request; a new request needs a new key", param=HEADER
        )
    return _placed(db, row)
