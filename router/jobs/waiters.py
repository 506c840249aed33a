"""The waiting requests of all machines of a shared store."""

from collections.abc import Collection

from sqlalchemy import Float, Text, cast, delete, exists, literal, select, tuple_

from router.jobs.database import Database
from router.jobs.database.expressions import insert, insert_or_update, listed
from router.jobs.rows import dump
from router.jobs.tables import waiters

VALID_SECONDS = 20.0  # of a row, unless its process renews it


class WaiterStore:
    """The jobs that each process waits for; rows of a dead process expire."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def enter(self, job_id: str, process: str) -> None:
        with self._db.write(durable=False, ordered=False) as db:
            until = self._db.instant(db).now + VALID_SECONDS
            db.execute(insert_or_update(waiters, {"job": job_id, "process": process}, {"until": until}))

    def leave(self, job_id: str, process: str) -> None:
        with self._db.write(durable=False, ordered=False) as db:
            db.execute(delete(waiters).where(waiters.c.job == job_id, waiters.c.process == process))

    def renew(self, process: str, jobs: Collection[str]) -> None:
        """Keep the rows of the jobs that a process waits for; remove expired ones."""
        with self._db.write(durable=False, ordered=False) as db:
            now = self._db.instant(db).now
            job = listed(literal(dump(sorted(jobs))), "waiting").c.value
            rows = select(job, cast(literal(process), Text), cast(literal(now + VALID_SECONDS), Float))
            new = insert(waiters).from_select(["job", "process", "until"], rows.where(literal(True)))
            key = [waiters.c.job, waiters.c.process]
            db.execute(new.on_conflict_do_update(index_elements=key, set_={"until": new.excluded.until}))
            # at the end, and without a wait: processes that renew and remove each other's rows would block each other
            expired = select(waiters.c.job, waiters.c.process).where(waiters.c.until < now - VALID_SECONDS)
            row = tuple_(waiters.c.job, waiters.c.process)
            db.execute(delete(waiters).where(row.in_(expired.with_for_update(skip_locked=True))))

    def has_others(self, job_id: str, process: str) -> bool:
        """Say whether another process waits for a job."""
        with self._db.read() as db:
            now = self._db.instant(db).now
            other = (waiters.c.job == job_id) & (waiters.c.process != process) & (waiters.c.until > now)
            return bool(db.scalar(select(exists().where(other))))
