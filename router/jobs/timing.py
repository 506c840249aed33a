"""How fast each model has been at each shape, on this machine."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from router.jobs.database import Database
from router.jobs.tables import paces
from router.values import StepTiming

WEIGHT = 0.3  # of the newest job in what is known


class TimingStore:
    """Measured by the engines, read for estimates."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, model: str, shape: str) -> StepTiming | None:
        """Return what is known of `model` at `shape` (`Task.shape`), None before its first job."""
        wanted = select(paces.c.step, paces.c.rest).where(paces.c.model == model, paces.c.shape == shape)
        with self._db.read() as db:
            row = db.execute(wanted).first()
        return StepTiming(*row) if row is not None else None

    def learn(self, model: str, shape: str, seen: StepTiming) -> None:
        """Add what one job has shown."""
        known = self.of(model, shape) or seen
        step = known.step + WEIGHT * (seen.step - known.step)
        rest = known.rest + WEIGHT * (seen.rest - known.rest)
        row = {"step": step, "rest": rest}
        with self._db.write(durable=False) as db:
            new = insert(paces).values(model=model, shape=shape, **row)
            db.execute(new.on_conflict_do_update(["model", "shape"], set_=row))
