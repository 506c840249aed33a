"""One engine: what it takes, in which order, one job at a time; and what it keeps ready."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec
from router.engine.attempt import Attempt
from router.engine.heap import give_back
from router.engine.heartbeat import Heart, Unwatched
from router.engine.lease_keeper import LeaseKeeper
from router.engine.reporter import HeartbeatReporter, Reporter
from router.engine.residency import Residency, Resident
from router.engine.retention import Retention, Sweeper
from router.engine.servable import ServableModels
from router.engine.warm_up import surviving, warm_up
from router.errors import DeviceLost, reason
from router.jobs import ClaimRequest
from router.runtime import logs
from router.system import System
from router.values import EngineState, Job, Lease, Phase

IDLE_SECONDS = 0.003
LOOK_SECONDS = 1.0  # claim at least this often, whether the store has changed or not
log = logging.getLogger(__name__)


class Worker:
    """One engine on one device."""

    def __init__(self, system: System, device: str, heart: Heart | None = None) -> None:
        self._system = system
        self._device = device
        self._heart = heart or Unwatched()
        self._id = f"{device}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._residency = Residency(system, device)
        self._servable = ServableModels(system, device, self._residency.fitting)
        self._served = self._servable.begin()
        self._looked_at = time.monotonic()
        self._job: str | None = None
        self.keeper = LeaseKeeper(system, self._state, lost=self._heart.cancelled)
        self._sweeper = Sweeper(Retention(system))

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models that this engine takes jobs for."""
        return self._served.names

    @property
    def id(self) -> str:
        """The engine's name in the store and in the log."""
        return self._id

    def run(self, hung: Phase | None = None) -> None:
        """Work until told to stop, then unload and go; `hung` is the phase in which the former engine hung."""
        jobs = self._system.jobs
        known = {*self._served.ends, *(model.name for model in self._served.models)}
        for job in (*jobs.inherit(self._device, hung), *jobs.strand(known)):
            self._system.plugins.announce(job)
        self.keeper.start()
        self._sweeper.start()
        log.info("engine %s takes jobs for %s", self._id, ", ".join(self.models) or "no model")
        note = self._system.settings.data / "devices" / f"{self._device.replace(':', '-')}.warming"
        with surviving(note) as safe:
            if safe:
                self._warm_up()
        pulse, at_work = self._system.jobs.pulse(), True
        while not self.keeper.stopping:
            before = pulse()
            if self._turn():
                at_work = True
                continue
            self._beat(None)
            if at_work:
                at_work = False
                give_back()
            self._rest(pulse, before)
        self._sweeper.stop()
        self._residency.clear()
        self.keeper.gone()

    def _turn(self) -> bool:
        """Do a job of what is served now; False when there was none, or when the store could not say or keep it."""
        try:
            self._take_up()
            return self.run_one()
        except SQLAlchemyError as error:
            log.error("the store did not answer; asking again: %s", reason(error))
            time.sleep(LOOK_SECONDS)
            return False

    def run_one(self, only: str | None = None) -> bool:
        """Claim and do one job (that one, if `only` names it); False when there was none."""
        claimed = self._system.jobs.claim(self._id, self._claim_request(), only)
        if claimed is None:
            return False
        lease, job = claimed
        with self._working(lease, job):
            Attempt(self._system, lease, job, self._loaded, self._beat).run()
        self._residency.describe()  # a job may have changed it
        return True

    def _take_up(self) -> None:
        """Once a second, see what is offered now: unload what no job needs any more, warm up what is new."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        before, self._served, self._looked_at = self._served, self._servable.look(), time.monotonic()
        if self._served == before:
            return
        self._beat(Phase.LOAD)  # to unload takes time, too
        self._residency.retain(self._served.models)
        if self._served.registry != before.registry:
            log.info("engine %s takes jobs for %s", self._id, ", ".join(self.models) or "no model")
            self._servable.warn(self._served)
            self._warm_up(before.registry.models)

    def _warm_up(self, former: Collection[ModelSpec] = ()) -> None:
        """Load the models that are to be ready, and run each once, before anybody asks; log those that cannot.

        What was among the `former` ones has been warmed up.
        """
        beating = HeartbeatReporter(self._beat)
        done = [model for model in former if model.warm_up]
        for model in self._served.registry.models:
            if not model.warm_up or model.name not in self.models or self.keeper.stopping:
                continue
            if any(model.loads_as(other) for other in done):
                continue
            try:
                warm_up(self._system.plugins, self._residency, model, beating)
            except DeviceLost:
                raise
            except Exception:
                log.exception("%s could not be warmed up", model.name)
            else:
                log.info("%s is warmed up", model.name)
        self._beat(None)

    def _beat(self, phase: Phase | None) -> None:
        self.keeper.check()
        self._heart(phase)

    def _rest(self, pulse: Callable[[], int], before: int) -> None:
        """Wait until the store changes, but not for long."""
        until = time.monotonic() + LOOK_SECONDS
        while not self.keeper.stopping and time.monotonic() < until and pulse() == before:
            time.sleep(IDLE_SECONDS)

    @contextmanager
    def _working(self, lease: Lease, job: Job) -> Iterator[None]:
        self._job = job.id
        self.keeper.hold(lease)
        self._beat(Phase.LOAD)  # from here to its first report, too, a job may hang
        self._system.plugins.announce(job)
        try:
            with logs.about(job):
                yield
        finally:
            self.keeper.hold(None)
            self._job = None
            self._beat(None)  # whether it was cancelled is of no interest any more

    def _loaded(self, model: ModelSpec, reporter: Reporter) -> Resident:
        """Return the model, loaded; other engines learn at once that it is here."""
        before = self._residency.names
        resident = self._residency.get(model, reporter)
        if model.name not in before:
            self._system.engines.heartbeat(self._state())
        return resident

    def _claim_request(self) -> ClaimRequest:
        """Return what this engine would run next."""
        most = {model.name: model.engines for model in self._served.registry.models if model.engines is not None}
        return ClaimRequest((*self.models, *self._served.ends), self._residency.names, most)

    def _state(self) -> EngineState:
        residency, served = self._residency, self._servable.look()  # while a job runs, too
        return EngineState(
            self._id,
            self._device,
            os.getpid(),
            served.names,
            residency.names,
            self._job,
            memory=residency.memory,
            warm=residency.warm,
            paths=residency.paths,
            lacks=served.lacks,
            too_large=residency.fitting.too_large(served.models),
        )
