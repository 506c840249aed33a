"""Finished jobs, whoever owns them, as the one who clears up sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, func, select

from router.jobs import statements as sql
from router.jobs.database import Database
from router.jobs.tables import jobs
from router.values import Status

BATCH = 500
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Archive:
    """Says what is old, and forgets it; the files are the caller's to remove."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def finished_before(self, at: float) -> tuple[str, ...]:
        """Return the jobs that finished before `at` (seconds since 1970), oldest first, a few hundred at a time."""
        old = select(jobs.c.id).where(jobs.c.finished_at < at).order_by(jobs.c.finished_at).limit(BATCH)
        with self._db.read() as db:
            return tuple(db.scalars(old))

    def outputs_before(self, at: float) -> Mapping[str, tuple[str, int] | None]:
        """Return the jobs that finished before `at`, each with the name and size of the file it must have."""
        name, size = (func.json_extract(jobs.c.artifact, f"$.{key}") for key in ("name", "size"))
        with self._db.read() as db:
            rows = db.execute(select(jobs.c.id, jobs.c.status, name, size).where(jobs.c.finished_at < at)).all()
        return {job_id: (name, size) if status == Status.COMPLETED else None for job_id, status, name, size in rows}

    def known(self, ids: Collection[str]) -> frozenset[str]:
        """Return those of `ids` that are jobs."""
        wanted = list(ids)
        found: set[str] = set()
        with self._db.read() as db:
            for start in range(0, len(wanted), BATCH):
                found.update(db.scalars(select(jobs.c.id).where(jobs.c.id.in_(wanted[start : start + BATCH]))))
        return frozenset(found)

    def has_ended(self, job_id: str) -> bool:
        """Say whether there is such a job and it has finished."""
        with self._db.read() as db:
            return db.scalar(select(jobs.c.seq).where(jobs.c.id == job_id, jobs.c.status.in_(ENDED))) is not None

    def forget(self, job_id: str) -> bool:
        """Remove a job that has finished; False if there is none or it has not."""

        def forget(db: Connection) -> bool:
            ended = delete(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(ENDED))
            row = db.execute(ended.returning(jobs.c.seq, jobs.c.owner)).mappings().first()
            if row is not None:
                number = db.execute(sql.NEWEST).scalar_one() + 1
                db.execute(sql.LOG, {"n": number, "job": job_id, **row})
            return row is not None

        return self._db.change(forget)

    def scrub(self) -> None:
        """Let go of what deleted jobs have left in the log of the store: their pages are overwritten by now."""
        with self._db.read() as db:
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def keep_reserve(self) -> None:
        """Keep some of the disk for the store, where there is plenty."""
        self._db.reserve.keep()
