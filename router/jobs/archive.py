"""Finished jobs of all owners, for retention."""

from collections.abc import Collection, Mapping

from sqlalchemy import BigInteger, Text, delete, select

from router.jobs.change_log import delete_job
from router.jobs.database import Database
from router.jobs.database.expressions import json_item
from router.jobs.database.schema import known_facts
from router.jobs.tables import MOVED, jobs
from router.values import Status

BATCH = 500
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Archive:
    """Finds and forgets old jobs; the caller removes their files."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def finished_before(self, at: float) -> tuple[str, ...]:
        """Return up to 500 jobs that finished before `at` (seconds since 1970), oldest first."""
        old = select(jobs.c.id).where(jobs.c.finished_at < at).order_by(jobs.c.finished_at).limit(BATCH)
        with self._db.read() as db:
            return tuple(db.scalars(old))

    def outputs_before(self, at: float) -> Mapping[str, tuple[str, int] | None]:
        """Return jobs that finished before `at`, each with its file's name and size."""
        name, size = (json_item(jobs.c.artifact, key, kind) for key, kind in (("name", Text), ("size", BigInteger)))
        with self._db.read() as db:
            rows = db.execute(select(jobs.c.id, jobs.c.status, name, size).where(jobs.c.finished_at < at)).all()
        return {job_id: (name, size) if status == Status.COMPLETED else None for job_id, status, name, size in rows}

    def known(self, ids: Collection[str]) -> frozenset[str]:
        """Return the `ids` of existing jobs."""
        wanted = list(ids)
        found: set[str] = set()
        with self._db.read() as db:
            for start in range(0, len(wanted), BATCH):
                found.update(db.scalars(select(jobs.c.id).where(jobs.c.id.in_(wanted[start : start + BATCH]))))
        return frozenset(found)

    def has_ended(self, job_id: str) -> bool:
        """Return whether the job exists and has finished."""
        with self._db.read() as db:
            return db.scalar(select(jobs.c.seq).where(jobs.c.id == job_id, jobs.c.status.in_(ENDED))) is not None

    def forget(self, job_id: str) -> bool:
        """Remove a finished job; return False for any other."""
        ended = delete(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(ENDED))
        forget = ended.returning(jobs.c.id, jobs.c.seq, jobs.c.owner)
        return self._db.change(lambda db: delete_job(db, forget)) is not None

    def is_retired(self) -> bool:
        """Return whether the store was moved: the files belong to the new one."""
        with self._db.read() as db:
            return MOVED in known_facts(db)

    def scrub(self) -> None:
        """Overwrite the store's log, which still holds pages of deleted jobs."""
        self._db.scrub()

    def keep_reserve(self) -> None:
        """Create the store's disk reserve, unless the disk is nearly full."""
        self._db.keep_reserve()
