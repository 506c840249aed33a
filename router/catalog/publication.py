"""Publication of a models file, and the reading of published ones."""

import logging
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from registry import BrokenModel, ModelSpec, Registry, RegistryError, folders, part_files
from registry.backends import Backends
from registry.lines import read_text
from registry.loader import load_text
from registry.shared_folders import SharedFolders
from registry.source import is_folder, is_hub_id
from router.jobs import RevisionStore
from router.values import Backend, Revision

Known = Backends | Collection[Backend]
GRAIN_SECONDS = 2.0  # file systems round times: a file that looks this much older may be newer
log = logging.getLogger(__name__)


def publish(store: RevisionStore, file: Path, backends: Known, before: Revision | None = None) -> Registry:
    """Read a models file and publish it if it has changed; requires the lock.

    It is also published if weights have changed since the revision `before`: every process must read those
    again.
    """
    read_at = time.time()
    text = read_text(file)
    registry = load_new(store, text, file, backends, before)
    anew = before is not None and folders_changed(registry, before.created_at - GRAIN_SECONDS)
    traits = registry.traits if store.is_shared else None
    return replace(registry, revision=store.publish(file, text, read_at, anew=anew, traits=traits).n)


def load_new(store: RevisionStore, text: str, file: Path, backends: Known, before: Revision | None) -> Registry:
    """Return the registry of a text to publish after `before`; raise `RegistryError`."""
    known = (before and before.traits) or {}
    shared = SharedFolders(known, prefer_local=True) if store.is_shared else None
    return load_text(text, file, backends, shared=shared)


def complete(store: RevisionStore, revision: Revision, registry: Registry, backends: Known) -> Registry:
    """Publish the traits of folders that this machine is the first to read."""
    known = revision.traits
    if known is None or registry.traits.keys() <= known.keys():
        return registry
    with store.lock():
        latest = store.latest(revision.file)
        if latest is None or latest.n != revision.n:
            return registry  # the next poll takes up the newer one
        traits = {**registry.traits, **known}
        published = store.publish(revision.file, revision.text, time.time(), traits=traits)
    return parse(published, backends)


def folders_changed(registry: Registry, since: float) -> bool:
    """Return whether files of weights have changed since a time."""
    entries: tuple[ModelSpec | BrokenModel, ...] = (*registry.models, *registry.broken)
    return any(
        folders.changed_at(path, part_files.paths(entry.parts)) > since
        for entry in entries
        for path in _paths(entry.source, entry.revision)
    )


def _paths(source: str | None, revision: str | None) -> tuple[Path, ...]:
    """Return the paths to watch for a model's weights; none for embedded ones."""
    if source is None or not (is_hub_id(source) or is_folder(source)):
        return ()
    return folders.hub_cache.paths(source, revision) if is_hub_id(source) else (Path(source),)


def log_broken(registry: Registry) -> None:
    """Log broken entries with their paths, and differences between entries and folders."""
    for model in registry.broken:
        log.error("%s is broken, and requests for it are refused: %s", model.name, model.problem)
    for note in registry.notes:
        log.warning("%s", note)


def parse(revision: Revision, backends: Known) -> Registry:
    shared = None if revision.traits is None else SharedFolders(revision.traits)
    return load_text(revision.text, revision.file, backends, revision.n, shared)


def parse_or_log(revision: Revision, backends: Known) -> Registry | None:
    try:
        return parse(revision, backends)
    except RegistryError as error:
        log.error("revision %d cannot be served by this process:\n%s", revision.n, error)
        return None
