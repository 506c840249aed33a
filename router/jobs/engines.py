"""The table of engines: heartbeats, models, loaded models."""

from collections.abc import Iterable

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from router.jobs.database import Database
from router.jobs.rows import IN_ALL, dump, engine_of
from router.jobs.tables import engines
from router.runtime import clock
from router.values import EngineState, MemoryUse, Need, ResidentBytes

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
            **{name: getattr(state, name) for name in ("device", "pid", "job", "kind")},
            **{name: dump(getattr(state, name)) for name in ("models", "resident", "warm", "paths", "lacks", "loads")},
            # what models hold, what those need that can never hold anything, and what is in use in all
            "memory": dump(by_model),
            "boot": clock.boot(),
            "seen": clock.now(),
        }
        long_gone = or_(engines.c.boot != clock.boot(), engines.c.seen < clock.now() - FORGOTTEN_SECONDS)
        with self._db.write(durable=False) as db:
            db.execute(insert(engines).values(id=state.id, **row).on_conflict_do_update(["id"], set_=row))
            db.execute(delete(engines).where(long_gone))

    def retire(self, engine: str) -> None:
        """Mark a cleanly stopped engine as lost."""
        with self._db.write(durable=False) as db:
            seen = clock.now() - self._lease_seconds
            db.execute(update(engines).where(engines.c.id == engine).values(seen=seen, job=None))

    def drain(self, engine: str, draining: bool) -> EngineState | None:
        """Let an engine drain or claim again, and return it; None if unknown."""
        # the flag is no part of a heartbeat, which keeps it; an engine that starts anew has another id
        here = (engines.c.id == engine) & (engines.c.boot == clock.boot())
        change = update(engines).where(here).values(draining=draining).returning(engines)
        row = self._db.change(lambda db: db.execute(change).mappings().first(), durable=False)
        return engine_of(row, age=clock.now() - row["seen"]) if row is not None else None

    def seen(self) -> tuple[EngineState, ...]:
        """Return the engines seen within the hour, lost ones included, with their `age`."""
        rows = self._db.rows(select(engines).where(engines.c.boot == clock.boot()))
        return tuple(engine_of(row, age=clock.now() - row["seen"]) for row in rows)

    def alive(self, seen: Iterable[EngineState] | None = None) -> tuple[EngineState, ...]:
        """Return the living engines among `seen`, which defaults to a query."""
        return tuple(engine for engine in (self.seen() if seen is None else seen) if engine.age < self._lease_seconds)
