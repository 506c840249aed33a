"""The loop of an engine: claim a job, run it, follow the registry."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec
from router.engine.attempt import Attempt
from router.engine.device import kind
from router.engine.heap import trim
from router.engine.heartbeat import Heartbeat
from router.engine.lease_keeper import LeaseKeeper
from router.engine.memory_growth import MemoryGrowth
from router.engine.memory_use import memory_use
from router.engine.outages import tolerated
from router.engine.reporter import Phases
from router.engine.residency import Residency, Resident
from router.engine.retention import Retention
from router.engine.servable import ServableModels
from router.engine.switch import Switch
from router.engine.warm_up import WarmUp, crash_note
from router.errors import is_outage, reason
from router.jobs import ClaimRequest
from router.runtime import logs
from router.system import System
from router.values import EngineState, Job, Lease, Phase

IDLE_SECONDS = 0.003  # between two pulses of the store: what a new job waits for an idle engine
LOOK_SECONDS = 1.0  # claim at least this often, although the store has not changed
log = logging.getLogger(__name__)


class Worker:
    """One engine on one device; a `single` one runs one job.

    Its heartbeats name no models, so that nobody waits for it to run another job.
    """

    def __init__(self, system: System, device: str, heart: Heartbeat | None = None, *, single: bool = False) -> None:
        self._system = system
        self._single = single
        self._device = device
        self._kind = kind(device)
        self._heart = heart or Heartbeat()
        self._name = system.device_name(device)  # in the store, as is the next
        self.id = f"{self._name.replace('/', '-')}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._residency = Residency(system, device)
        self._servable = ServableModels(system, device, self._residency.memory_fit)
        self._served = self._servable.begin()
        self._switch = Switch(system.timings, self._residency, self._kind)
        self._switch.refresh(self._served.models)
        self._looked_at = time.monotonic()
        self._warm_up = WarmUp(system, self._residency, self._beat)
        self._growth = MemoryGrowth()
        self._job: str | None = None
        self._may_hold = False  # a job: the commit of a claim whose answer was lost
        self.keeper = LeaseKeeper(system, self._state, lost=self._heart.cancelled)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models whose jobs this engine claims."""
        return self._served.names

    def run(self, hung: Phase | None = None) -> None:
        """Run jobs until the keeper stops, then unload the models.

        `hung` is the phase in which the former engine hung, None if it did not hang.
        """
        jobs = self._system.jobs
        known = {*self._served.ends, *(model.name for model in self._served.models)}
        for job in (*jobs.inherit(self._name, hung, lock_domain=self._system.lock_domain), *jobs.strand(known)):
            self._system.plugins.announce(job)
        self.keeper.start()
        ended = Event()
        Thread(target=Retention(self._system).run, args=(ended,), name="sweeper", daemon=True).start()
        log.info("engine %s takes jobs for %s", self.id, ", ".join(self.models) or "no model")
        note = self._system.settings.data / "devices" / f"{self._device.replace(':', '-')}.warming"
        with crash_note(note) as is_safe:
            if is_safe:
                self._warm_models()
        self._run_jobs()
        ended.set()
        self._residency.clear()
        self.keeper.gone()

    def _run_jobs(self) -> None:
        pulse, is_busy = self._system.jobs.pulse(), True
        while not self.keeper.stopping:
            before = pulse()
            if self._run_next():
                is_busy = True
                continue
            self._beat(None)
            if is_busy:
                is_busy = False
                trim()
            self._wait(pulse, before)

    def _run_next(self) -> bool:
        """Run the next job; return False if there was none."""
        try:
            self.follow_registry()
            return self.run_one()
        except SQLAlchemyError as error:
            if is_outage(error):  # of that the log has a line already
                self._may_hold = True
            else:
                log.error("the store did not answer; asking again: %s", reason(error))
            time.sleep(LOOK_SECONDS)
            return False

    def run_one(self, only: str | None = None) -> bool:
        """Claim and run one job; return False if there was none.

        `only` is the id of the one job to claim.
        """
        most = {model.name: model.engines for model in self._served.registry.models if model.engines is not None}
        models = (*self.models, *self._served.ends)
        request = ClaimRequest(models, self._residency.names, most, self._switch.seconds)
        held = self._system.engines.held(self.id) if self._may_hold else None
        self._may_hold = False
        claimed = held or self._system.jobs.claim(self.id, request, only)
        if claimed is None:
            return False
        lease, job = claimed
        with self._working(lease, job):
            load_seconds = request.switch.get(job.model, 0.0)
            Attempt(self._system, lease, job, self._load, self._beat, self._kind, load_seconds).run()
        self._residency.describe()  # a job may have changed a code path, or moved parts to the host
        self._growth.after(job, self._residency.in_memory)
        self._switch.refresh(self._served.models)
        return True

    def follow_registry(self) -> None:
        """Unload models that no job needs, and warm up new ones; once a second."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        before, self._served, self._looked_at = self._served, self._servable.read(), time.monotonic()
        if self._served == before:
            return
        self._beat(Phase.LOAD)  # unloading takes time, too
        self._residency.retain(self._served.models)
        self._switch.refresh(self._served.models)
        if self._served.registry != before.registry:
            log.info("engine %s takes jobs for %s", self.id, ", ".join(self.models) or "no model")
            self._servable.warn(self._served)
            self._warm_models(before.registry.models)

    def _warm_models(self, former: Iterable[ModelSpec] = ()) -> None:
        for model in self._warm_up.pending(self._served.registry.models, former):
            if model.name in self.models and not self.keeper.stopping:
                self._warm_up.run(model)
        with tolerated():
            self._switch.refresh(self._served.models)
        self._beat(None)

    def _beat(self, phase: Phase | None) -> None:
        self.keeper.check()
        self._heart(phase)

    def _wait(self, pulse: Callable[[], int], before: int) -> None:
        until = time.monotonic() + LOOK_SECONDS
        while not self.keeper.stopping and time.monotonic() < until and pulse() == before:
            time.sleep(IDLE_SECONDS)

    @contextmanager
    def _working(self, lease: Lease, job: Job) -> Iterator[None]:
        self._job = job.id
        self.keeper.hold(lease)
        self._beat(Phase.LOAD)  # a job may hang before its first report, too
        self._system.plugins.announce(job)
        try:
            with logs.about(job):
                yield
        finally:
            self.keeper.hold(None)
            self._job = None
            self._beat(None)  # also ends the grace of a cancelled job

    def _load(self, model: ModelSpec, phases: Phases) -> Resident:
        before = self._residency.names
        resident = self._residency.get(model, phases)
        if model.name not in before:  # the other engines must learn of it at once
            with tolerated():
                self._switch.refresh(self._served.models)
                self._system.engines.heartbeat(self._state())
        return resident

    def _state(self) -> EngineState:
        residency, served = self._residency, self._servable.read()  # the keeper asks while a job runs, too
        return EngineState(
            self.id,
            self._name,
            os.getpid(),
            () if self._single else served.names,
            residency.names,
            self._job,
            memory=residency.memory,
            warm=residency.warm,
            paths=residency.paths,
            lacks=served.lacks,
            too_large=residency.memory_fit.too_large(served.models),
            use=memory_use(self._device),
            kind=self._kind,
            loads=self._switch.loads,
            lock_domain=self._system.lock_domain,
        )
