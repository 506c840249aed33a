"""Jobs are leased, not popped: every verb that the two halves share."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from router import clock
from router.errors import EngineLost, QueueFull
from router.jobs.database import Database
from router.jobs.rows import dump, engine_of, job_of, job_row
from router.jobs.tables import changes, engines, jobs
from router.values import Artifact, EngineState, Failure, Job, Lease, Progress, Status

UNFINISHED = (Status.QUEUED, Status.IN_PROGRESS)
KEPT_CHANGES = 100_000
NO_LEASE: Mapping[str, Any] = {"engine": None, "lease_boot": None, "lease_until": None}


class JobStore:
    """Every write of an engine names its lease and does nothing (returns False) when the lease was lost."""

    def __init__(self, database: Database, *, lease_seconds: float, max_attempts: int, max_queued: int) -> None:
        self._db = database
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._max_queued = max_queued

    # The web half

    def check_room(self) -> None:
        """Raise `QueueFull` when no more jobs are taken; writes nothing."""
        with self._db.read() as db:
            queued = db.scalar(select(func.count()).where(jobs.c.status == Status.QUEUED)) or 0
        if queued >= self._max_queued:
            raise QueueFull(
                f"the queue holds {queued} jobs, its limit is {self._max_queued}; try again later",
                headers=(("retry-after", "10"),),
            )

    def add(self, job: Job) -> Job:
        """Queue `job` and return it as stored."""
        with self._db.write() as db:
            row = db.execute(insert(jobs).values(**job_row(job), version=_change(db, job.id)).returning(jobs))
            return job_of(row.mappings().one())

    def get(self, job_id: str, owner: str) -> Job | None:
        """Return the owner's job, with its place in the queue while it waits; None if there is none."""
        with self._db.read() as db:
            row = db.execute(select(jobs).where(jobs.c.id == job_id, jobs.c.owner == owner)).mappings().first()
            if row is None:
                return None
            ahead = db.scalar(_ahead(row["seq"])) if row["status"] == Status.QUEUED else None
            return job_of(row, ahead)

    def cancel(self, job_id: str, owner: str) -> Job | None:
        """Cancel an unfinished job and return it; None if it has finished or is not there."""
        mine = and_(jobs.c.id == job_id, jobs.c.owner == owner, jobs.c.status.in_(UNFINISHED))
        return self._change_one(mine, status=Status.CANCELLED, finished_at=time.time(), **NO_LEASE)

    def delete(self, job_id: str, owner: str) -> Job | None:
        """Forget a job in any state and return what it was; its files are the caller's to remove."""
        with self._db.write() as db:
            mine = and_(jobs.c.id == job_id, jobs.c.owner == owner)
            row = db.execute(delete(jobs).where(mine).returning(jobs)).mappings().first()
            if row is not None:
                _change(db, job_id)
            return job_of(row) if row is not None else None

    def newest(self) -> int:
        """Return the number of the newest change."""
        with self._db.read() as db:
            return db.scalar(select(func.max(changes.c.n))) or 0

    def changes(self, since: int) -> tuple[int, frozenset[str]]:
        """Return the newest change's number and the jobs changed after `since`: one cheap query."""
        with self._db.read() as db:
            found = db.exec_driver_sql("SELECT n, job FROM changes WHERE n > ?", (since,)).all()
        return max((n for n, _ in found), default=since), frozenset(job for _, job in found)

    # The engine half

    def claim(self, engine: str, models: Collection[str], only: str | None = None) -> tuple[Lease, Job] | None:
        """Lease the oldest queued job for one of `models` (or the job `only`); None when there is none."""
        waiting = [jobs.c.status == Status.QUEUED, jobs.c.model.in_(models)]
        if only is not None:
            waiting.append(jobs.c.id == only)
        job = self._change_one(
            jobs.c.seq == select(jobs.c.seq).where(*waiting).order_by(jobs.c.seq).limit(1).scalar_subquery(),
            status=Status.IN_PROGRESS,
            attempt=jobs.c.attempt + 1,
            started_at=func.coalesce(jobs.c.started_at, time.time()),
            progress=None,
            engine=engine,
            lease_boot=clock.boot(),
            lease_until=clock.now() + self._lease_seconds,
        )
        return (Lease(job.id, engine, job.attempt), job) if job else None

    def renew(self, lease: Lease) -> bool:
        """Hold the lease for another term."""
        with self._db.write() as db:
            until = clock.now() + self._lease_seconds
            held = update(jobs).where(_held(lease)).values(lease_until=until, lease_boot=clock.boot())
            return db.execute(held.returning(jobs.c.seq)).first() is not None

    def holds(self, lease: Lease) -> bool:
        """Say whether the job is still this engine's to work on."""
        with self._db.read() as db:
            return db.execute(select(jobs.c.seq).where(_held(lease))).first() is not None

    def report(self, lease: Lease, progress: Progress) -> bool:
        return self._change_one(_held(lease), progress=dump(asdict(progress))) is not None

    def finish(self, lease: Lease, artifact: Artifact, warnings: tuple[str, ...] = ()) -> Job | None:
        """Complete the job; None when the lease was lost, and then the file is the caller's to remove."""
        return self._change_one(
            _held(lease),
            status=Status.COMPLETED,
            artifact=dump(asdict(artifact)),
            warnings=dump(list(warnings)),
            finished_at=time.time(),
            **NO_LEASE,
        )

    def fail(self, lease: Lease, failure: Failure) -> Job | None:
        return self._change_one(_held(lease), **_failed(failure))

    def release(self, lease: Lease) -> bool:
        """Give the job back, as if it had not been tried."""
        values = {"status": Status.QUEUED, "attempt": jobs.c.attempt - 1, "progress": None, **NO_LEASE}
        return self._change_one(_held(lease), **values) is not None

    def expire(self) -> tuple[Job, ...]:
        """Queue the jobs again whose lease ran out, fail those that were tried often enough; return the failed."""
        lost = and_(
            jobs.c.status == Status.IN_PROGRESS,
            or_(jobs.c.lease_boot != clock.boot(), jobs.c.lease_until < clock.now()),
        )
        with self._db.read() as db:  # nearly always nothing: look before taking the write lock
            found = db.execute(select(jobs.c.id, jobs.c.attempt).where(lost)).all()
        failed = []
        for job_id, attempt in found:
            this = and_(lost, jobs.c.id == job_id, jobs.c.attempt == attempt)
            if attempt < self._max_attempts:
                self._change_one(this, status=Status.QUEUED, progress=None, **NO_LEASE)
            else:
                failed.append(self._change_one(this, **_failed(_lost(attempt))))
        return tuple(job for job in failed if job)

    def inherit(self, device: str) -> None:
        """Let the leases of a device's former engines run out now; for whoever holds the device's lock."""
        former = select(engines.c.id).where(engines.c.device == device)
        with self._db.write() as db:
            running = and_(jobs.c.status == Status.IN_PROGRESS, jobs.c.engine.in_(former))
            db.execute(update(jobs).where(running).values(lease_until=0.0))
            db.execute(delete(engines).where(engines.c.device == device))

    def prune(self) -> None:
        """Forget old changes: nobody is that far behind."""
        with self._db.write() as db:
            db.execute(
                delete(changes).where(changes.c.n < select(func.max(changes.c.n) - KEPT_CHANGES).scalar_subquery())
            )

    def heartbeat(self, state: EngineState) -> None:
        """Say that an engine lives, what it can run and what it has loaded."""
        row = {
            "device": state.device,
            "pid": state.pid,
            "models": dump(state.models),
            "resident": dump(state.resident),
            "job": state.job,
            "boot": clock.boot(),
            "seen": clock.now(),
        }
        with self._db.write() as db:
            db.execute(upsert(engines).values(id=state.id, **row).on_conflict_do_update(["id"], set_=row))
            db.execute(delete(engines).where(or_(engines.c.boot != clock.boot(), engines.c.seen < clock.now() - 3600)))

    def retire(self, engine: str) -> None:
        """Let an engine that stops in good order look as old as one that is lost."""
        with self._db.write() as db:
            seen = clock.now() - self._lease_seconds
            db.execute(update(engines).where(engines.c.id == engine).values(seen=seen, job=None))

    def engines(self) -> tuple[EngineState, ...]:
        """Return the engines seen within the hour, `age` seconds after their last heartbeat; the lost ones too."""
        with self._db.read() as db:
            rows = db.execute(select(engines).where(engines.c.boot == clock.boot())).mappings().all()
        return tuple(engine_of(row, age=clock.now() - row["seen"]) for row in rows)

    def _change_one(self, where: ColumnElement[bool], **values: Any) -> Job | None:
        """Change one row if it still fits, with a new version; return it as it then is."""
        with self._db.write() as db:
            row = db.execute(update(jobs).where(where).values(**values).returning(jobs)).mappings().first()
            if row is None:
                return None
            version = _change(db, row["id"])
            db.execute(update(jobs).where(jobs.c.seq == row["seq"]).values(version=version))
            return job_of({**row, "version": version})


def _change(db: Connection, job_id: str) -> int:
    number: int = db.execute(insert(changes).values(job=job_id).returning(changes.c.n)).scalar_one()
    return number


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        jobs.c.id == lease.job,
        jobs.c.status == Status.IN_PROGRESS,
        jobs.c.engine == lease.engine,
        jobs.c.attempt == lease.attempt,
    )


def _ahead(seq: int) -> Select[int]:
    return select(func.count()).where(jobs.c.status == Status.QUEUED, jobs.c.seq < seq)


def _failed(failure: Failure) -> dict[str, Any]:
    return {"status": Status.FAILED, "failure": dump(asdict(failure)), "finished_at": time.time(), **NO_LEASE}


def _lost(attempts: int) -> Failure:
    return Failure(EngineLost.code, f"the engine that ran this job was lost, {attempts} times; it is not tried again")
