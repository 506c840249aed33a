"""The next job's first work, done while the frames of this one are made and written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from router.engine.residency import Residency
from router.jobs import ClaimRequest
from router.system import System

log = logging.getLogger(__name__)


class Ahead:
    """Prepares the job that the engine would claim now, if its model is loaded; it claims nothing."""

    def __init__(self, system: System, engine: str, residency: Residency, offer: Callable[[], ClaimRequest]) -> None:
        self._system = system
        self._engine = engine
        self._residency = residency
        self._offer = offer

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Prepare the next job beside what the block does; when it ends, nothing is at work any more."""
        thread = Thread(target=self._prepare, name="prepare", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _prepare(self) -> None:
        try:
            job = self._system.jobs.peek(self._engine, self._offer())
            model = self._system.registries.model(job.model, job.revision) if job is not None else None
            resident = self._residency.peek(model) if model is not None else None
            if job is None or resident is None:
                return
            prepare = self._system.plugins.hook_for("prepare_task", resident.model)
            prepare(model=resident.model, loaded=resident.loaded, task=job.task)
        except (Exception, SystemExit):
            log.exception("the next job could not be prepared; it will do all of its work itself")
