"""Measured step times of each model at each video size."""

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from registry import ModelSpec
from router.jobs.database import Database
from router.jobs.tables import timings
from router.values import Origin, StepTiming

WEIGHT = 0.3  # of the newest job in what is known


class TimingStore:
    """Written by the engines, read for estimates."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of(self, model: str, shape: str) -> StepTiming | None:
        """Return the timing of `model` at `shape` (`Task.shape`), None before its first job.

        Before the first job with these adapters it is that without any.
        """
        return self._learned(model, shape) or self._learned(model, shape.partition("+")[0])

    def _learned(self, model: str, shape: str) -> StepTiming | None:
        wanted = select(timings.c.step, timings.c.rest).where(timings.c.model == model, timings.c.shape == shape)
        return next((StepTiming(**row) for row in self._db.rows(wanted)), None)

    def load_seconds(self, model: ModelSpec, kind: str, origin: Origin) -> float | None:
        """Return the expected seconds of a load, None if unknown."""
        return None

    def learn(self, model: str, shape: str, seen: StepTiming) -> None:
        """Merge the timing of one job."""
        known = self._learned(model, shape) or seen
        step = known.step + WEIGHT * (seen.step - known.step)
        rest = known.rest + WEIGHT * (seen.rest - known.rest)
        row = {"step": step, "rest": rest}
        with self._db.write(durable=False) as db:
            new = insert(timings).values(model=model, shape=shape, **row)
            db.execute(new.on_conflict_do_update(["model", "shape"], set_=row))
