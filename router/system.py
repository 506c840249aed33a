"""The composition root: every part of a process, built once and passed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.exc import SQLAlchemyError

from registry import Registry
from registry.backends import AT_START, Backends
from registry.loader import load, load_one
from registry.source import is_hub_id
from router.catalog.history import RevisionHistory
from router.catalog.revisions import Registries, newest_good
from router.catalog.weights import Weights
from router.errors import BootError
from router.jobs import (
    ApiKeyStore,
    Archive,
    BudgetStore,
    Database,
    EngineStore,
    JobStore,
    Ledger,
    Overview,
    Probe,
    RevisionStore,
    SchedulingPolicy,
    TimingStore,
    open_database,
    unusable,
)
from router.metrics import Metrics
from router.plugins import Plugins, find
from router.runtime import lock_probe
from router.runtime.disk import Disk
from router.runtime.host import host_name, lock_domain
from router.settings import Settings
from router.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class System:
    """The parts that both halves share: settings, registries, plugins, stores."""

    settings: Settings
    database: Database
    registries: Registries
    history: RevisionHistory
    plugins: Plugins
    jobs: JobStore
    engines: EngineStore
    timings: TimingStore
    ledger: Ledger
    budgets: BudgetStore
    archive: Archive
    overview: Overview
    keys: ApiKeyStore
    artifacts: ArtifactStore
    weights: Weights
    metrics: Metrics
    disk: Disk
    probe: Probe

    def device_name(self, device: str) -> str:
        """Return a device's name in the store; a shared one has its host, too."""
        return f"{self.settings.host or host_name()}/{device}" if self.database.is_shared else device

    @property
    def lock_domain(self) -> str:
        """A digest of the processes with common file locks, "" for a local store."""
        return lock_domain(self.settings.data) if self.database.is_shared else ""


def assemble(
    settings: Settings,
    *,
    plugins: Iterable[object] = (),
    serving: bool = True,
    advice: str = AT_START,
    store: Path | str | None = None,
) -> System:
    """Build a process's system; `plugins` are added to those that are found.

    A `serving` process waits for its store, and follows the revisions of the models file; a command reads the file
    itself, once. `advice` is for an entry whose backend is unknown. `store` is another one than that of the settings.
    Raises `BootError` (settings, plugins) and `RegistryError` (the models file), each with every reason.
    """
    if serving:
        lock_probe.require(settings.data)
    metrics = Metrics(settings.data)
    found = Plugins([*find(settings.plugins), *plugins, metrics])
    database = open_database(store or settings.job_store, wait=serving)
    budgets = BudgetStore(database, keys=settings.key_limits.budgets, owners=settings.owner_budgets)
    known, revisions = replace(found.known, advice=advice), RevisionStore(database)
    registries = _registries(settings, database, revisions, known, serving)
    weights = Weights(settings.data, found.backends, settings.stall_factor * settings.stall_download_seconds)
    return System(
        settings=settings,
        database=database,
        registries=registries,
        history=RevisionHistory(revisions, known, registries),
        plugins=found,
        jobs=_job_store(settings, database, budgets),
        engines=EngineStore(database, lease_seconds=settings.lease_seconds),
        timings=TimingStore(database),
        ledger=Ledger(database),
        budgets=budgets,
        archive=Archive(database),
        overview=Overview(database),
        keys=ApiKeyStore(database),
        artifacts=ArtifactStore(settings.data),
        weights=weights,
        metrics=metrics,
        disk=Disk(settings.data, settings.min_free),
        probe=Probe(database),
    )


@contextmanager
def reading(settings: Settings) -> Iterator[System]:
    """Assemble for a command that creates nothing.

    Where there is no store yet, it gets an empty one in a temporary folder.
    """
    with TemporaryDirectory(prefix="framegate-") as folder:
        here = settings.job_store
        is_missing = isinstance(here, Path) and not here.exists()
        yield assemble(settings, serving=False, store=Path(folder, "jobs.sqlite") if is_missing else here)


def require_keys(system: System) -> None:
    """Raise `BootError` if there are no keys, and `no_auth` is not set."""
    if not (system.settings.no_auth or system.keys.version()):
        raise BootError(
            "nobody has a key, and anybody who can connect could call. 'framegate keys create NAME' makes a key; "
            "'framegate serve' on 127.0.0.1, ::1 or a unix socket needs none; FRAMEGATE_NO_AUTH=1 lets everybody in"
        )


def _job_store(settings: Settings, database: Database, budgets: BudgetStore) -> JobStore:
    return JobStore(
        database,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        max_queued=settings.max_queued,
        policy=SchedulingPolicy(settings.overtake_seconds, settings.key_running),
        budgets=budgets,
    )


def _registries(
    settings: Settings, database: Database, store: RevisionStore, backends: Backends, serving: bool
) -> Registries:
    if serving and settings.model is None:
        try:
            registry = newest_good(store, settings.models.absolute(), backends)
        except SQLAlchemyError as error:  # one page may be damaged, and others not
            raise unusable(database.name, error) from error
    else:
        registry = read(settings, backends)
    return Registries(store, backends, registry)


def read(settings: Settings, backends: Backends) -> Registry:
    """Return the registry of the models file, or of `settings.model` alone.

    That may be a hub repository, which naming it allows to download. Raises `RegistryError` with every problem.
    """
    if settings.model is None:
        return load(settings.models, backends)
    remote = is_hub_id(settings.model) and not Path(settings.model).is_dir()
    return load_one(settings.model, settings.backend, backends, download=remote)
