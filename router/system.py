"""The one composition root: every part of a process, built once and passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from registry import Registry
from registry.families import find as find_family
from registry.loader import load
from registry.single import load_one
from registry.source import is_hub_id
from router.artifacts import ArtifactStore
from router.jobs import Database, EngineStore, JobStore
from router.plugins import Plugins, find
from router.settings import Settings
from router.weights import Weights, cached


@dataclass(frozen=True)
class System:
    """What both halves share: settings, the registry, the plugins and the two stores."""

    settings: Settings
    registry: Registry
    plugins: Plugins
    jobs: JobStore
    engines: EngineStore
    artifacts: ArtifactStore
    weights: Weights


def assemble(settings: Settings, *, plugins: Iterable[object] = ()) -> System:
    """Build a process's system; `plugins` are added to those that are found.

    Raises `BootError` (settings, plugins) and `RegistryError` (the models file), each with every reason.
    """
    found = Plugins([*find(settings.plugins), *plugins])
    database = Database(settings.data / "jobs.sqlite")
    engines = EngineStore(database, lease_seconds=settings.lease_seconds)
    jobs = JobStore(
        database,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        max_queued=settings.max_queued,
    )
    weights = Weights(settings.data, found.backends)
    return System(settings, _registry(settings, found), found, jobs, engines, ArtifactStore(settings.data), weights)


def _registry(settings: Settings, plugins: Plugins) -> Registry:
    """Read the models file, or make a registry of the one model that was named: naming it is leave to fetch it."""
    backends = plugins.backends.values()
    if settings.model is None:
        return load(settings.models, backends)
    remote = is_hub_id(settings.model) and not Path(settings.model).is_dir()
    snapshot = cached(settings.model, None) if remote and not find_family(settings.model) else None
    return load_one(settings.model, settings.backend, backends, download=remote, folder=snapshot)
