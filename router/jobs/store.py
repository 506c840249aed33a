"""The store of jobs: what the web half asks of it, on top of the engines' leases."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, RowMapping

from router.errors import KeyReused
from router.jobs import statements as sql
from router.jobs.change_log import log
from router.jobs.database import Database
from router.jobs.idempotency import HEADER, KEY_SECONDS, Key
from router.jobs.leases import RULES, Leases
from router.jobs.queue_limits import NO_CAPS, QueueLimits
from router.jobs.queue_limits import require as require_room
from router.jobs.queue_positions import all_positioned, positioned
from router.jobs.rows import job_of, job_row
from router.jobs.scheduling import SchedulingPolicy, due_at
from router.values import Job, Status

LAST = 2**63 - 1  # the largest number of a row


class JobStore(Leases):
    """Jobs as their callers see them; what engines do with them is inherited."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        max_attempts: int,
        max_queued: int,
        rules: SchedulingPolicy = RULES,
    ) -> None:
        super().__init__(database, lease_seconds=lease_seconds, max_attempts=max_attempts, rules=rules)
        self._max_queued = max_queued

    def check_room(self, caps: QueueLimits = NO_CAPS) -> None:
        """Raise `QueueFull` or `RateLimited` when no more jobs are taken; writes nothing."""
        with self._db.read() as db:
            require_room(db, self._max_queued, caps)

    def add(self, job: Job, key: Key | None = None, caps: QueueLimits = NO_CAPS) -> Job:
        """Queue `job` and return it as stored, with its place in the queue; raise as `check_room` does.

        Under a key that the owner has used for the same request before, return that job and add none.
        """
        with self._db.write() as db:
            if key is not None:
                if (known := _keyed(db, job.owner, key)) is not None:
                    return self._placed(db, known)
                kept = {"owner": job.owner, "key": key.name, "request": key.request, "job": job.id}
                db.execute(sql.KEEP_KEY, {**kept, "created_at": time.time()})
            queued = require_room(db, self._max_queued, caps)
            due = due_at(db.execute(sql.TURN).scalar_one(), queued)
            row = db.execute(sql.ADD, {**job_row(job), "due": due}).mappings().one()
            log(db, row["version"], job.id)
            return self._placed(db, row)

    def get(self, job_id: str, owner: str | None) -> Job | None:
        """Return the owner's job, with its place in the queue while it waits; None if there is none.

        Here and below an owner of None stands for all of them.
        """
        with self._db.read() as db:
            row = db.execute(sql.GET, {"_job": job_id, "_owner": owner}).mappings().first()
            return self._placed(db, row) if row is not None else None

    def keyed(self, owner: str, key: Key) -> Job | None:
        """Return the job that the owner's key stands for, None if it is free; raise `KeyReused` for another request."""
        with self._db.read() as db:
            row = _keyed(db, owner, key)
            return self._placed(db, row) if row is not None else None

    def is_keyed(self, owner: str, name: str) -> bool:
        """Say whether the owner has sent any request under a key of this name."""
        with self._db.read() as db:
            said = {"_owner": owner, "_key": name, "_since": time.time() - KEY_SECONDS}
            return db.execute(sql.KEYED, said).first() is not None

    def page(self, owner: str | None, *, after: str | None, limit: int, newest_first: bool) -> tuple[Job, ...] | None:
        """Return up to `limit` of the owner's jobs in the order in which they were added, or the reverse.

        The first is the one that follows the job `after`; None if there never was such a job. One that was
        deleted meanwhile still holds its place, so that whoever deletes page by page comes to the end.
        """
        with self._db.read() as db:
            older, newer = (sql.ALL_OLDER, sql.ALL_NEWER) if owner is None else (sql.OLDER, sql.NEWER)
            page, edge = (older, LAST) if newest_first else (newer, 0)
            place = edge if after is None else _place(db, after, owner)
            if place is None:
                return None
            whose = {} if owner is None else {"_owner": owner}
            rows = db.execute(page, {**whose, "_place": place, "_limit": limit}).mappings().all()
            return all_positioned(db, rows, self._seen_since())

    def cancel(self, job_id: str, owner: str | None) -> Job | None:
        """Cancel an unfinished job and return it; None if it has finished or is not there."""
        return self._change(sql.CANCEL, _job=job_id, _owner=owner, _wall=time.time())

    def delete(self, job_id: str, owner: str | None) -> Job | None:
        """Forget a job in any state and return what it was; its files are the caller's to remove."""

        def delete(db: Connection) -> Job | None:
            row = db.execute(sql.DELETE, {"_job": job_id, "_owner": owner}).mappings().first()
            if row is None:
                return None
            log(db, db.execute(sql.NEWEST).scalar_one() + 1, job_id, deleted=row)
            return job_of(row)

        return self._db.change(delete)

    def pulse(self) -> Callable[[], int]:
        """Return a function, for the thread that asked, whose number moves with every change; it is no query."""
        return self._db.pulse()

    def counts(self) -> Mapping[tuple[str, Status], int]:
        """Return how many jobs there are of each model in each status, where there are any."""
        with self._db.read() as db:
            return {(model, Status(status)): number for model, status, number in db.execute(sql.COUNT_ALL)}

    def newest(self) -> int:
        """Return the number of the newest change."""
        with self._db.read() as db:
            return db.scalar(sql.NEWEST) or 0

    def changes(self, since: int) -> tuple[int, frozenset[str]]:
        """Return the newest change's number and the jobs changed after `since`: one cheap query."""
        with self._db.read() as db:
            found = db.exec_driver_sql("SELECT n, job FROM changes WHERE n > ?", (since,)).all()
        return max((n for n, _ in found), default=since), frozenset(job for _, job in found)

    def _placed(self, db: Connection, row: RowMapping) -> Job:
        return positioned(db, row, self._seen_since())


def _place(db: Connection, job_id: str, owner: str | None) -> int | None:
    """Return where a job stands, or stood before it was deleted; None if there never was one."""
    this = {"_job": job_id, "_owner": owner}
    known: int | None = db.scalar(sql.PLACE, this)
    return known if known is not None else db.scalar(sql.DELETED_PLACE, this)


def _keyed(db: Connection, owner: str, key: Key) -> RowMapping | None:
    """Return the row of the job that the key stands for."""
    wanted = {"_owner": owner, "_key": key.name, "_since": time.time() - KEY_SECONDS}
    row = db.execute(sql.KEYED, wanted).mappings().first()
    if row is None:
        return None
    if row["request"] != key.request:
        raise KeyReused(
            f"{HEADER} {key.name!r} was used for another request; a new request needs a new key", param=HEADER
        )
    return row
