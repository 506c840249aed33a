"""The table of engines: heartbeats, models, loaded models."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, or_, select, update

from router.jobs.database import Database
from router.jobs.database.expressions import insert_or_update
from router.jobs.rows import IN_ALL, dump, engine_of, job_of
from router.jobs.tables import engines, jobs
from router.values import EngineState, Job, Lease, MemoryUse, Need, ResidentBytes, Status

FORGOTTEN_SECONDS = 3600.0  # not seen for so long


class EngineStore:
    """The known engines; one not seen for `lease_seconds` is lost."""

    def __init__(self, database: Database, *, lease_seconds: float) -> None:
        self._db = database
        self._lease_seconds = lease_seconds

    def heartbeat(self, state: EngineState) -> None:
        """Store an engine's state; forget engines not seen for an hour."""
        by_model: dict[str, ResidentBytes | Need | MemoryUse] = {**state.too_large, **state.memory, IN_ALL: state.use}
        row = {
            **{name: getattr(state, name) for name in ("device", "pid", "job", "kind", "lock_domain")},
            **{name: dump(getattr(state, name)) for name in ("models", "resident", "warm", "paths", "lacks", "loads")},
            # what models hold, what those need that can never hold anything, and what is in use in all
            "memory": dump(by_model),
        }
        with self._db.write(durable=False) as db:
            this = self._db.instant(db)
            row |= {"boot": this.boot, "seen": this.now}
            db.execute(insert_or_update(engines, {"id": state.id}, row))
            long_gone = or_(engines.c.boot != this.boot, engines.c.seen < this.before(FORGOTTEN_SECONDS).now)
            db.execute(delete(engines).where(long_gone))

    def retire(self, engine: str) -> None:
        """Mark a cleanly stopped engine as lost."""
        with self._db.write(durable=False) as db:
            seen = self._db.instant(db).before(self._lease_seconds).now
            db.execute(update(engines).where(engines.c.id == engine).values(seen=seen, job=None))

    def drain(self, engine: str, draining: bool) -> EngineState | None:
        """Let an engine drain or claim again, and return it; None if unknown."""

        # the flag is no part of a heartbeat, which keeps it; an engine that starts anew has another id
        def change(db: Connection) -> EngineState | None:
            this = self._db.instant(db)
            here = (engines.c.id == engine) & (engines.c.boot == this.boot)
            statement = update(engines).where(here).values(draining=draining).returning(engines)
            return next((engine_of(row, this.now - row["seen"]) for row in db.execute(statement).mappings()), None)

        return self._db.change(change, durable=self._db.is_shared)

    def held(self, engine: str) -> tuple[Lease, Job] | None:
        """Return the job that an engine holds, and its lease; None without one."""
        mine = select(jobs).where(jobs.c.status == Status.IN_PROGRESS, jobs.c.engine == engine)
        for job in map(job_of, self._db.rows(mine)):
            return Lease(job.id, engine, job.attempt), job
        return None

    def seen(self) -> tuple[EngineState, ...]:
        """Return the engines seen within the hour, lost ones included, with their `age`."""
        with self._db.read() as db:
            this = self._db.instant(db)
            rows = db.execute(select(engines).where(engines.c.boot == this.boot)).mappings().all()
        return tuple(engine_of(row, age=this.now - row["seen"]) for row in rows)

    def alive(self, seen: Iterable[EngineState] | None = None) -> tuple[EngineState, ...]:
        """Return the living engines among `seen`, which defaults to a query."""
        return tuple(engine for engine in (self.seen() if seen is None else seen) if engine.age < self._lease_seconds)
